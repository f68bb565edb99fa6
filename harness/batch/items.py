"""What a batch is asked to judge: lists, folders, patterns and revisions, as one path for each submission."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness.batch import repository
from harness.errors import UsageError
from harness.folder import is_adapter
from harness.scripts.opening import is_script


@dataclass(frozen=True)
class Item:
    """One submission of a batch.

    Attributes:
        label: as it was listed.
        path: its folder or script; None where there is none.
        problem: why there is none, one line.
        missing: files of it that a clone lacks, so that it is judged without them.
    """

    label: str
    path: Path | None
    problem: str = ""
    missing: tuple[str, ...] = ()


def listed(texts: Sequence[str], sources: Path, tell: Callable[[float], None] = lambda count: None) -> list[Item]:
    """The submissions that `texts` name, in that order, each label once.

    A text is a submission's folder or script; a folder of such folders; a pattern (`*`, `?`, `[`) of them;
    `REPOSITORY@REVISION:PATH` in a git repository on this machine, where the last part of PATH may be a pattern, or
    REVISION one of refs: then what each of them adds or changes and PATH, as a pattern of whole paths, fits; or a
    text file with one of these a line (blank lines and lines that start with # say nothing).
    What is named one by one and is not there stays in the list, with its problem; of a pattern or a folder of folders
    only what is a submission is taken, links left out: they may lead anywhere.

    Args:
        texts: from the command line.
        sources: where folders of git repositories are written to.
        tell: told how many are found so far.

    Raises:
        UsageError: a list cannot be read, or nothing is listed.
    """
    found: dict[str, Item] = {}
    for text in texts:
        for item in _file(Path(text), sources) if _is_list(Path(text)) else _one(text, sources):
            found.setdefault(item.label, item)
            tell(len(found))
    if not found:
        raise UsageError(f"nothing to judge in {', '.join(texts)}")
    return list(found.values())


def is_submission(path: Path) -> bool:
    """Whether a folder holds a submission: an adapter's submission.py, or a script's code."""
    return path.is_dir() and (is_adapter(path) or is_script(path))


def _is_list(path: Path) -> bool:
    return path.is_file() and path.suffix != ".py"


def _file(path: Path, sources: Path) -> Iterator[Item]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the list {path}: {error}") from None
    for line in map(str.strip, lines):
        if line and not line.startswith("#"):
            yield from _one(line, sources)


def _one(text: str, sources: Path) -> Iterator[Item]:
    path = Path(text)
    if path.is_dir() and not is_submission(path):
        inside = [child for child in sorted(path.iterdir()) if not child.is_symlink() and is_submission(child)]
        yield from (Item(str(child), child) for child in inside) if inside else (Item(text, path),)
    elif path.exists():
        yield Item(text, path)
    elif (spec := repository.parse(text)) is not None:
        yield from _revision(text, *spec, sources)
    elif glob.has_magic(text):
        matches = [Path(match) for match in sorted(glob.glob(text, recursive=True)) if not os.path.islink(match)]
        taken = [match for match in matches if is_submission(match) or (match.is_file() and is_script(match))]
        yield from (
            (Item(str(match), match) for match in taken) if taken else (Item(text, None, "no submission matches"),)
        )
    else:
        yield Item(text, None, f"there is nothing at {text}")


def _revision(text: str, home: Path, revision: str, path: str, sources: Path) -> Iterator[Item]:
    try:
        if glob.has_magic(revision):
            yield from _refs(text, home, revision, path, sources)
            return
        if not glob.has_magic(path.rpartition("/")[2]):
            yield item_of(text, home, revision, path, sources)
            return
        for folder in repository.folders(home, revision, path):
            exported = repository.export(home, revision, folder, sources)
            if is_submission(exported.path):
                yield Item(f"{home}@{revision}:{folder}", exported.path, missing=exported.missing)
    except UsageError as error:
        yield Item(text, None, str(error))


def _refs(text: str, home: Path, pattern: str, path: str, sources: Path) -> Iterator[Item]:
    found = False
    for ref, changes in repository.offered(home, pattern):
        for change in () if isinstance(changes, str) else changes.submissions:
            if fnmatchcase(change.path, path or "*"):
                found = True
                yield item_of(f"{home}@{ref}:{change.path}", home, ref, change.path, sources)
    if not found:
        yield Item(text, None, "no ref that matches adds or changes a submission that matches")


def item_of(label: str, home: Path, revision: str, path: str, sources: Path) -> Item:
    """One folder or file of a repository at a revision as an item, with its problem where it cannot be had."""
    try:
        exported = repository.export(home, revision, path, sources)
    except UsageError as error:
        return Item(label, None, str(error))
    return Item(label, exported.path, missing=exported.missing)

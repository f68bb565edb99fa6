"""Folders of a git repository at some revision, written out as files; nothing is checked out, nothing in it is run."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from harness.changes import Changes, find
from harness.errors import HarnessError, UsageError
from harness.git import Repository

_LONGEST = 4096  # characters of such a text
_FILES = {"100644", "100755"}  # no links, no submodules


def parse(text: str) -> tuple[Path, str, str] | None:
    """(repository, revision, path) of a text `repository@revision:path`, None for any other text."""
    if len(text) > _LONGEST or "\n" in text:
        return None
    parts = text.split("@")
    for count in range(1, len(parts)):  # names of folders may hold an @, too: the first that fits
        revision, colon, _ = parts[count].partition(":")
        home, rest = "@".join(parts[:count]), "@".join(parts[count:])[len(revision) + 1 :]
        if home and colon and revision and not any(map(str.isspace, revision)):
            return (Path(home), revision, rest.strip("/")) if Path(home).is_dir() else None
    return None


def folders(repository: Path, revision: str, path: str) -> list[str]:
    """Paths of the folders that match a path whose last part is a pattern, sorted.

    Raises:
        UsageError: no such revision or parent folder.
    """
    parent, _, pattern = path.rpartition("/")
    opened = Repository(repository)
    commit = opened.commit(revision)
    try:
        names = opened.folders(commit, parent)
    except HarnessError:
        raise UsageError(f"{repository} has no {parent or 'files'} at {revision}") from None
    return [f"{parent}/{name}".lstrip("/") for name in names if fnmatchcase(name, pattern)]


@dataclass(frozen=True)
class Exported:
    """Where a folder or file was written, and what of it is not there because the clone lacks it, as sentences."""

    path: Path
    missing: tuple[str, ...] = ()


def export(repository: Path, revision: str, path: str, target: Path) -> Exported:
    """Write the folder or file at `path` below `target`, once for each content and path, and say where it is.

    The folders above it keep their names: `records/track_non_record_16mb` says which rules were meant. A clone may
    lack blobs (one that was filtered, or a model that was left out): what is there is written without them.

    Raises:
        UsageError: the repository does not hold it, or lacks all of its files.
    """
    if ".." in PurePosixPath(path).parts:
        raise UsageError(f"{path}: name a folder of {repository} without '..'")
    opened = Repository(repository)
    try:
        entries = [entry for entry in opened.entries(opened.commit(revision), path or ".") if entry.mode in _FILES]
    except HarnessError as error:
        raise UsageError(str(error)) from None
    if not entries:
        raise UsageError(f"{repository} has no {path or 'files'} at {revision}")
    name = str(PurePosixPath(path)) if PurePosixPath(path).name else repository.resolve().name
    sizes = opened.sizes([entry.object for entry in entries])
    missing = tuple(
        f"{entry.path[len(path) :].lstrip('/') or name} ({f'{entry.size:,} bytes' if entry.size else 'size not known'})"
        for entry, size in zip(entries, sizes, strict=True)
        if size is None
    )
    entries = [entry for entry, size in zip(entries, sizes, strict=True) if size is not None]
    if not entries:
        raise UsageError(f"{repository} lacks all files of {path or 'this revision'} at {revision}; fetch them first")
    inside = [f"{name}/{entry.path[len(path) :].lstrip('/')}".rstrip("/") for entry in entries]
    told = "\n".join(f"{entry.object} {place}" for entry, place in zip(entries, inside, strict=True))
    outer = target / hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    home = outer / name
    if home.exists():
        return Exported(home, missing)
    outer.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=outer))
    try:
        for place, content in zip(inside, opened.blobs([entry.object for entry in entries]), strict=True):
            file = part / place
            if not file.resolve().is_relative_to(part.resolve()):
                raise UsageError(f"{repository}@{revision}:{path} holds a file named {place!a}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        home.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part / name, home)
    except HarnessError as error:
        raise UsageError(str(error)) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Exported(home, missing)


def offered(repository: Path, refs: str | Sequence[str], base: str = "HEAD") -> Iterator[tuple[str, Changes | str]]:
    """What each of some refs adds or changes since it departed from a base, as a gate sees it; refs by their numbers.

    Args:
        repository: a git repository on this machine.
        refs: a pattern such as "refs/pull/*/head", or names.
        base: revision that they are to be merged into.

    Yields:
        The ref, and what changes; or why that cannot be said: a branch with a history of its own, or a missing tree.

    Raises:
        UsageError: no such base.
    """
    opened = Repository(repository)
    onto = opened.commit(base)
    for ref in sorted(opened.refs(refs) if isinstance(refs, str) else refs, key=_by_number):
        try:
            head = opened.commit(ref)
            yield ref, find(opened, opened.merge_base(onto, head), head)
        except HarnessError as error:
            yield ref, str(error)


def _by_number(ref: str) -> tuple[int, str]:
    digits = re.search(r"\d+", ref)
    return (int(digits[0]) if digits else 0, ref)

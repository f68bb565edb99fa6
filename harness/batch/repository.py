"""Folders of a git repository at some revision, written out as files; nothing is checked out, nothing in it is run.

Files come from the objects themselves and not from `git archive`: a submission's own .gitattributes could keep some of
them out of an archive.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from harness.errors import UsageError

_SPEC = re.compile(r"(?P<repository>.+?)@(?P<revision>[^@:\s]+):(?P<path>.*)")
_FILES = {b"100644", b"100755"}  # no links, no submodules


def parse(text: str) -> tuple[Path, str, str] | None:
    """(repository, revision, path) of a text `repository@revision:path`, None for any other text."""
    match = _SPEC.fullmatch(text)
    if match is None or not Path(match["repository"]).is_dir():
        return None
    return Path(match["repository"]), match["revision"], match["path"].strip("/")


def folders(repository: Path, revision: str, path: str) -> list[str]:
    """Paths of the folders that match a path whose last part is a pattern, sorted.

    Raises:
        UsageError: no such revision or parent folder.
    """
    parent, _, pattern = path.rpartition("/")
    listed = _git(repository, "ls-tree", "-z", _object(repository, revision, parent))
    names = [entry.partition("\t")[2] for entry in _text(listed).split("\0") if " tree " in entry.partition("\t")[0]]
    return [f"{parent}/{name}".lstrip("/") for name in sorted(names) if fnmatchcase(name, pattern)]


def export(repository: Path, revision: str, path: str, target: Path) -> Path:
    """Write the folder or file at `path` below `target`, once for each content, and return where it is.

    Raises:
        UsageError: the repository does not hold it.
    """
    found = _object(repository, revision, path)
    name = PurePosixPath(path).name or repository.resolve().name
    home = target / found[:16] / name
    if home.exists():
        return home
    if _git(repository, "cat-file", "-t", found).strip() == b"blob":
        entries = [(name, found)]
    else:
        entries = [(f"{name}/{inside}", blob) for inside, blob in _blobs(repository, found)]
        if not entries:
            raise UsageError(f"{repository}@{revision}:{path} holds no files")
    contents = _contents(repository, [blob for _, blob in entries])
    home.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=home.parent))
    try:
        for (inside, _), content in zip(entries, contents, strict=True):
            file = part / inside
            if not file.resolve().is_relative_to(part.resolve()):
                raise UsageError(f"{repository}@{revision}:{path} holds a file named {inside!a}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        os.replace(part / name, home)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return home


def _object(repository: Path, revision: str, path: str) -> str:
    try:
        return _text(_git(repository, "rev-parse", "--verify", "--end-of-options", f"{revision}:{path}")).strip()
    except UsageError:
        raise UsageError(f"{repository} has no {path or 'files'} at {revision}") from None


def _blobs(repository: Path, tree: str) -> list[tuple[str, str]]:
    found = []
    for entry in _git(repository, "ls-tree", "-r", "-z", tree).split(b"\0"):
        facts, _, name = entry.partition(b"\t")
        if name and facts.split()[0] in _FILES:
            found.append((_text(name), _text(facts.split()[2])))
    return found


def _contents(repository: Path, blobs: list[str]) -> list[bytes]:
    """Contents of blobs, in the order asked for."""
    asked = "".join(f"{blob}\n" for blob in blobs).encode()
    answer = _git(repository, "cat-file", "--batch", given=asked)
    contents, at = [], 0
    for blob in blobs:
        end = answer.index(b"\n", at)
        head = answer[at:end].split()
        if len(head) != 3:
            raise UsageError(f"{repository} lacks object {blob}; fetch it first")
        size = int(head[2])
        contents.append(answer[end + 1 : end + 1 + size])
        at = end + 1 + size + 1
    return contents


def _git(repository: Path, *words: str, given: bytes = b"") -> bytes:
    command = ["git", "-C", str(repository), *words]
    try:
        return subprocess.run(command, input=given, capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise UsageError("REPOSITORY@REVISION:PATH needs git, and there is none on this machine") from None
    except subprocess.CalledProcessError as error:
        said = _text(error.stderr).strip().splitlines() or [f"exit code {error.returncode}"]
        raise UsageError(f"git {words[0]} in {repository}: {said[0]}") from None


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")

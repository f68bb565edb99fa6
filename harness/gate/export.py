"""A submission's files, taken out of a commit into a folder of our own: the bytes that are in it, and nothing else.

Blobs are read directly, not through `git archive` or a checkout: those obey attributes that lie in the tree itself, so
that a pull request could hide a file (`export-ignore`), rewrite one (`export-subst`) or start a filter.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.files import MOST_BYTES, MOST_FILE_BYTES
from harness.git import Entry, Repository

MAX_FILES = 2_000
MAX_FILE_BYTES = MOST_FILE_BYTES
MAX_BYTES = MOST_BYTES
_MAX_NAME = 200  #: bytes of one component; file systems take 255, and we add to it
_MAX_PATH = 1_000


@dataclass(frozen=True)
class Exported:
    """A folder on disk, its path in the repository, and sha256 over names, modes and bytes in it, in sorted order."""

    path: Path
    folder: str
    sha256: str


def export(repository: Repository, commit: str, folder: str, root: Path) -> Exported:
    """Write the files of `folder` as they are in `commit` below `root`, under their path in the repository.

    Raises:
        UsageError: the folder holds a symlink, a submodule, a name that is no plain file name, or too much.
    """
    entries = sorted(repository.entries(commit, folder), key=lambda entry: entry.path)
    refuse(entries, folder)
    target = root / folder
    target.mkdir(parents=True)
    digest = hashlib.sha256()
    for entry, content in zip(entries, repository.blobs([entry.object for entry in entries]), strict=True):
        path = root / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(content)
        name = entry.path[len(folder) + 1 :]
        digest.update(f"{len(name)}:{name}:{entry.mode}:{len(content)}:".encode())
        digest.update(content)
    return Exported(target, folder, digest.hexdigest())


def refuse(entries: list[Entry], folder: str) -> None:
    """Let pass only what can be written without leaving `folder` and read without following anything.

    Raises:
        UsageError: which file is at fault, and why.
    """
    if len(entries) > MAX_FILES:
        raise UsageError(f"{folder} holds {len(entries):,} files; the gate takes {MAX_FILES:,}")
    seen: set[str] = set()
    files = {entry.path for entry in entries}
    total = 0
    for entry in entries:
        problem = _problem(entry, folder)
        if problem is None and entry.path in seen:
            problem = "is there twice"
        if problem is None and any(parent in files for parent in _parents(entry.path)):
            problem = "lies below a file"
        if problem:
            raise UsageError(f"{folder}: {entry.path!a} {problem}; remove or rename it")
        seen.add(entry.path)
        total += entry.size
    if total > MAX_BYTES:
        raise UsageError(f"{folder} holds {total:,} bytes; the gate takes {MAX_BYTES:,}")


def _problem(entry: Entry, folder: str) -> str | None:
    if entry.mode == "120000":
        return "is a symlink"
    if entry.mode == "160000":
        return "is a submodule"
    if not entry.mode.startswith("100"):
        return f"has mode {entry.mode}, which is no plain file"
    if entry.size > MAX_FILE_BYTES:
        return f"has {entry.size:,} bytes; the gate takes {MAX_FILE_BYTES:,}"
    if not entry.path.startswith(folder + "/"):
        return "lies outside the folder"
    if not entry.path.isprintable() or "\\" in entry.path:
        return "has a name with control characters, backslashes or bytes that are not UTF-8"
    parts = entry.path.split("/")
    if any(part in ("", ".", "..") or part.lower() == ".git" for part in parts):
        return "has a path that leads elsewhere"
    if len(entry.path.encode()) > _MAX_PATH or any(len(part.encode()) > _MAX_NAME for part in parts):
        return "has a name that is too long"
    return None


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]

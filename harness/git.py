"""What is asked of git: revisions, changed paths, trees and the bytes in them. Nothing is ever checked out.

Every answer is read with -z, so names may hold anything; names that are not UTF-8 come back with surrogates, as
`os.fsdecode` makes them. No filter, textconv, hook or attribute of the repository has a say in what is read.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, UsageError
from harness.report.text import plain

_SECONDS = 300
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
#: Replacement objects, prompts and a tracing environment would change what is read or said.
_ENVIRONMENT = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_LITERAL_PATHSPECS": "1", "LC_ALL": "C"}
#: What git sets for its hooks, and what would point it to another repository than the one that was named.
_ELSEWHERE = {
    "GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE", "GIT_NAMESPACE",
}  # fmt: skip


@dataclass(frozen=True)
class Moved:
    """One changed file: its letter in `git diff --raw` (A, M, D, R, T), its name now, and before if it was renamed."""

    letter: str
    path: str
    before: str | None = None


@dataclass(frozen=True)
class Entry:
    """One file of a tree: mode ("100644", "100755", "120000" a symlink, "160000" a submodule), object, bytes, path."""

    mode: str
    object: str
    size: int
    path: str


class Repository:
    """A git repository on this disk, bare or not.

    Raises:
        UsageError: there is none at `path`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            raise UsageError(f"no folder {path}; give the repository with --repo")
        try:
            self._git("rev-parse", "--git-dir")
        except HarnessError as error:
            raise UsageError(f"{path} is not a git repository ({error})") from None

    def commit(self, revision: str) -> str:
        """The full id of the commit that `revision` names.

        Raises:
            UsageError: it names none here.
        """
        try:
            found = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        except HarnessError:
            found = b""
        name = found.decode("ascii", "replace").strip()
        if not _OBJECT.fullmatch(name):
            raise UsageError(f"no commit {revision!a} in {self.path}; fetch it first, or name another")
        return name

    def merge_base(self, base: str, head: str) -> str:
        """The commit from which `head` departed from `base`: what changed since is what a pull request changes.

        Raises:
            UsageError: the two have no common ancestor here.
        """
        try:
            found = self._git("merge-base", base, head).decode("ascii", "replace").split()
        except HarnessError:
            found = []
        if not found:
            raise UsageError(
                f"{base[:12]} and {head[:12]} have no common ancestor in {self.path}; fetch the whole history"
            )
        return found[0]

    def changed(self, before: str, after: str) -> list[Moved]:
        """Files that differ between two commits; renames are followed, copies are not."""
        out = self._git("diff", "--raw", "-z", "-M", "-l2000", "--no-ext-diff", "--no-textconv", "--no-abbrev",
                        "--ignore-submodules=none", before, after)  # fmt: skip
        fields = iter(os.fsdecode(out).split("\0"))
        moved = []
        for head in fields:
            if not head.startswith(":"):
                continue
            letter = head.rsplit(" ", 1)[-1][:1]
            first = next(fields)
            moved.append(Moved(letter, next(fields), first) if letter in "RC" else Moved(letter, first))
        return moved

    def entries(self, commit: str, path: str) -> list[Entry]:
        """A file of a commit, or all below a folder, symlinks and submodules included; [] if there is nothing."""
        out = self._git("ls-tree", "-r", "-z", "-l", "--full-tree", commit, "--", path)
        found = []
        for line in os.fsdecode(out).split("\0"):
            if line:
                about, found_path = line.split("\t", 1)
                mode, _, name, size = about.split()
                found.append(Entry(mode, name, int(size) if size.isdigit() else 0, found_path))
        return found

    def folders(self, commit: str, parent: str) -> list[str]:
        """Names of the folders right below a folder of a commit ("" for the root), sorted."""
        out = self._git("ls-tree", "-z", "-d", "--full-tree", "--name-only", f"{commit}:{parent}")
        return sorted(name for name in os.fsdecode(out).split("\0") if name)

    def blobs(self, objects: Sequence[str]) -> Iterator[bytes]:
        """The bytes of blobs, in order, read one at a time.

        Raises:
            HarnessError: one is not there, or git failed.
        """
        command = ["git", "-C", str(self.path), "cat-file", "--batch"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            try:
                for name in objects:
                    process.stdin.write(name.encode("ascii") + b"\n")
                    process.stdin.flush()
                    about = process.stdout.readline().split()
                    if len(about) != 3 or about[1] != b"blob":
                        raise HarnessError(f"{self.path} lacks object {name[:12]}; fetch it first")
                    size = int(about[2])
                    content = process.stdout.read(size + 1)
                    if len(content) != size + 1:
                        raise HarnessError(f"git ended while it wrote blob {name[:12]}")
                    yield content[:-1]
            finally:
                process.kill()

    def _git(self, *args: str) -> bytes:
        command = ["git", "-C", str(self.path), "-c", "core.quotePath=false", *args]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False, env=_environment())
        except FileNotFoundError:
            raise HarnessError("git is not installed; repositories are read with it") from None
        except subprocess.TimeoutExpired:
            raise HarnessError(f"git {args[0]} did not end within {_SECONDS} s") from None
        if done.returncode != 0:
            words = done.stderr.decode("utf-8", "replace").strip().splitlines()
            why = plain(words[-1], 300) if words else f"exit code {done.returncode}"
            raise HarnessError(f"git {args[0]} failed: {why}")
        return done.stdout


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _ELSEWHERE} | _ENVIRONMENT

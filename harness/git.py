"""What is asked of git: revisions, changed paths, trees and the bytes in them. Nothing is ever checked out.

Every answer is read with -z, so names may hold anything; names that are not UTF-8 come back with surrogates, as
`os.fsdecode` makes them. The repository may be a stranger's: no filter, textconv, hook, attribute or configuration of
it starts a program or has a say in what is read, and an object that is not there is not fetched from anywhere.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, UsageError
from harness.text import plain

_LOG = logging.getLogger(__name__)
_SECONDS = 300
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
#: What would change what is read or said, or start a program. A partial clone names the place where missing objects
#: are, and git would ask there, by a program of the repository's choice (`ext::`), had it a protocol that it may use.
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_GRAFT_FILE": "/dev/null",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_SETTINGS = {
    "core.attributesFile": "/dev/null",
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.pager": "cat",
    "core.quotePath": "false",
    "log.showSignature": "false",
    "protocol.allow": "never",
    "protocol.ext.allow": "never",
    "protocol.file.allow": "never",
    # Whose repository it is matters to git because of the programs that its configuration could start.
    "safe.directory": "*",
}
#: Of git's own variables all others go: hooks set them, and they would point to another repository than was named.
_KEPT = ("GIT_EXEC_PATH",)


def command(path: Path, *args: str) -> list[str]:
    """A command line of git for the repository at `path`; to be run in `environment()`."""
    settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    return ["git", "--no-pager", "-C", str(path), *settings, *args]


def environment() -> dict[str, str]:
    """This process's environment without git's variables, and with those that keep git from starting anything."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _KEPT}
    return kept | _ENVIRONMENT


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

    def refs(self, pattern: str) -> list[str]:
        """Names of refs that match a pattern such as "refs/pull/*/head", sorted."""
        return self._git("for-each-ref", "--format=%(refname)", pattern).decode("utf-8", "replace").split()

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
        """Files that differ between two commits; renames are followed, copies are not.

        Of a clone that lacks some blobs only renames without a change are followed: for others git reads both files.
        """
        options = ["-r", "--raw", "-z", "-l2000", "--no-ext-diff", "--no-textconv", "--no-abbrev"]
        options += ["--ignore-submodules=none", before, after]
        try:
            out = self._git("diff-tree", "-M", *options)
        except HarnessError:
            out = self._git("diff-tree", "-M100%", *options)
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

    def history(self, revision: str) -> list[tuple[str, str, str]]:
        """(commit, its day as YYYY-MM-DD, subject) of a revision and of its first parents, the newest first.

        Raises:
            HarnessError: there is no such revision.
        """
        out = self._git("log", "--first-parent", "-z", "--format=%H %cs %s", "--end-of-options", revision)
        lines = (line.split(" ", 2) for line in out.decode("utf-8", "replace").split("\0") if line)
        return [(one[0], one[1], one[2] if len(one) > 2 else "") for one in lines]

    def trees(self, names: Sequence[str]) -> Iterator[list[Entry] | None]:
        """What is right below each of some trees, in order; None for what is no tree or is not there.

        Args:
            names: object ids, or texts such as "refs/heads/main:records".

        Raises:
            HarnessError: git failed.
        """
        for found in self._batch(names):
            yield _entries(found[1], found[2] // 2) if found is not None and found[0] == b"tree" else None

    def sizes(self, objects: Sequence[str]) -> list[int | None]:
        """Bytes of objects, in order; None for what is not there."""
        asked = "".join(f"{name}\n" for name in objects).encode()
        out = self._git("cat-file", "--batch-check", input=asked)
        fields = (line.split() for line in out.splitlines())
        return [int(field[2]) if len(field) == 3 and field[2].isdigit() else None for field in fields]

    def blobs(self, objects: Sequence[str]) -> Iterator[bytes]:
        """The bytes of blobs, in order, read one at a time.

        Raises:
            HarnessError: one is not there, or git failed.
        """
        for name, found in zip(objects, self._batch(objects), strict=True):
            if found is None or found[0] != b"blob":
                raise HarnessError(f"{self.path} lacks object {name[:12]}; fetch it first")
            yield found[1]

    def _batch(self, names: Sequence[str]) -> Iterator[tuple[bytes, bytes, int] | None]:
        """(type, content, letters of its id) of objects, in order, read one at a time; None for what is not there."""
        with subprocess.Popen(
            command(self.path, "cat-file", "--batch"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            try:
                for name in names:
                    process.stdin.write(os.fsencode(name) + b"\n")
                    process.stdin.flush()
                    about = process.stdout.readline().split()
                    if len(about) != 3 or not about[2].isdigit():
                        yield None  # "NAME missing"
                        continue
                    size = int(about[2])
                    content = process.stdout.read(size + 1)
                    if len(content) != size + 1:
                        raise HarnessError(f"git ended while it wrote {name[:60]}")
                    yield about[1], content[:-1], len(about[0])
            finally:
                process.kill()

    def _git(self, *args: str, input: bytes = b"") -> bytes:
        words = command(self.path, *args)
        _LOG.debug("%s: git %s", self.path, " ".join(args))
        try:
            done = subprocess.run(
                words, input=input, capture_output=True, timeout=_SECONDS, check=False, env=environment()
            )
        except FileNotFoundError:
            raise HarnessError("git is not installed; repositories are read with it") from None
        except subprocess.TimeoutExpired:
            raise HarnessError(f"git {args[0]} did not end within {_SECONDS} s") from None
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            why = plain(said[-1], 300) if said else f"exit code {done.returncode}"
            raise HarnessError(f"git {args[0]} failed: {why}")
        return done.stdout


def _entries(tree: bytes, length: int) -> list[Entry]:
    """The entries of a tree object whose ids have `length` bytes; sizes are not in it, and 0."""
    found, at = [], 0
    while at < len(tree):
        space, end = tree.index(b" ", at), tree.index(b"\0", at)
        name = tree[end + 1 : end + 1 + length].hex()
        mode = tree[at:space].decode("ascii", "replace")
        found.append(Entry(mode.rjust(6, "0"), name, 0, os.fsdecode(tree[space + 1 : end])))
        at = end + 1 + length
    return found

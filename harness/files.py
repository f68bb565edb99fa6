"""Files: of a stranger's nothing is followed, and each is read once, within bounds; our own are whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, UsageError

MOST_FILES = 5_000
MOST_FILE_BYTES = 100_000_000  #: what GitHub takes
MOST_BYTES = 400_000_000
_MOST_DEPTH = 40
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
_JUNCTION = 0xA0000003  # IO_REPARSE_TAG_MOUNT_POINT, which only Windows' own `stat` names
_STAMP = 1_577_836_800  # 2020: when a copy was made says nothing about what is judged
#: An access time that no reading renews on file systems that keep it now and then, so that a box cannot see in it
#: whether another has read the file before.
UNREAD = 4_102_444_800


@dataclass(frozen=True)
class Found:
    """A regular file: its name below the folder, with slashes, and its size in bytes as `lstat` gives it."""

    name: str
    size: int


def walk(folder: Path, *, most_files: int = MOST_FILES) -> list[Found]:
    """All regular files below a folder, sorted by name; what is hidden or called __pycache__ is left out.

    Nothing is opened. The folder itself may be named by a link, what is in it may not be one.

    Raises:
        UsageError: something in it is no regular file or folder, or is too large, too deep or too much.
    """
    found: list[Found] = []
    pending = [("", 0)]
    total = seen = 0
    while pending:
        below, depth = pending.pop()
        try:
            entries = sorted(os.scandir(folder / below), key=lambda entry: entry.name)
        except OSError as error:
            raise UsageError(f"cannot list {folder / below}: {error.strerror}") from None
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__pycache__":
                continue
            name = f"{below}/{entry.name}" if below else entry.name
            seen += 1
            if seen > 2 * most_files or depth > _MOST_DEPTH:
                raise UsageError(f"{folder} holds too many files or too deep folders; give one submission")
            try:
                facts = entry.stat(follow_symlinks=False)
            except OSError as error:
                raise UsageError(f"cannot look at {folder / name}: {error.strerror}") from None
            if _is_junction(facts):
                raise UsageError(f"{folder}: {name!a} is a junction, which leads elsewhere; remove it")
            if stat.S_ISDIR(facts.st_mode):
                pending.append((name, depth + 1))
                continue
            _check(folder, name, facts, MOST_FILE_BYTES)
            total += facts.st_size
            found.append(Found(name, facts.st_size))
            if len(found) > most_files:
                raise UsageError(f"{folder} holds more than {most_files:,} files; give the folder of one submission")
            if total > MOST_BYTES:
                raise UsageError(f"{folder} holds more than {MOST_BYTES:,} bytes; give the folder of one submission")
    return sorted(found, key=lambda one: one.name)


def read(folder: Path, name: str, *, most: int = MOST_FILE_BYTES) -> bytes:
    """A regular file below a folder; no link on the way to it is followed.

    Raises:
        UsageError: it is not there, is no regular file, or has more than `most` bytes.
    """
    content = _open_and_read(folder, name, most)
    if len(content) > most:
        raise UsageError(f"{folder}: {name!a} has more than {most:,} bytes")
    return content


def start(folder: Path, name: str, *, most: int) -> bytes:
    """At most `most` bytes of the beginning of a regular file below a folder, of whatever size.

    Raises:
        UsageError: it is not there or no regular file.
    """
    return _open_and_read(folder, name, most)[:most]


def is_regular(path: Path) -> bool:
    """Whether there is a regular file at a path, which is no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def sha256(path: Path) -> str:
    """Of the bytes of one of our own files, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest(contents: Mapping[str, bytes]) -> str:
    """sha256 over names and bytes of files, in their order, in hexadecimal."""
    made = hashlib.sha256()
    for name, content in contents.items():
        made.update(f"{len(name)}:{name}:{len(content)}:".encode())
        made.update(content)
    return made.hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is either whole or not there.

    Raises:
        HarnessError: the disk is full or not writable.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise HarnessError(f"cannot write {path}: {error.strerror or error}; free some space or choose --out") from None


def replace_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files that belong together: all are written aside first, so that a full disk leaves the old ones.

    Raises:
        HarnessError: the disk is full or not writable.
    """
    parts = {name: folder / f"{name}.part" for name in contents}
    try:
        for name, content in contents.items():
            parts[name].write_bytes(content)
        for name, part in parts.items():
            os.replace(part, folder / name)
    except OSError as error:
        for part in parts.values():
            with contextlib.suppress(OSError):
                part.unlink()
        raise HarnessError(
            f"cannot write into {folder}: {error.strerror or error}; free some space or choose --out"
        ) from None


def _open_and_read(folder: Path, name: str, most: int) -> bytes:
    if os.open not in os.supports_dir_fd:
        return _open_by_path(folder, name, most)
    *parents, last = name.split("/")
    opened = []
    try:
        opened.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for part in parents:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            opened.append(os.open(part, flags, dir_fd=opened[-1]))
        # Not blocking: a FIFO would wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        _check(folder, name, os.stat(last, dir_fd=opened[-1], follow_symlinks=False), None)
        opened.append(os.open(last, flags, dir_fd=opened[-1]))
        _check(folder, name, os.fstat(opened[-1]), None)
        return _chunks(opened[-1], most)
    except OSError as error:
        raise UsageError(f"{folder}: {name!a} cannot be read: {error.strerror}") from None
    finally:
        for fd in opened:
            os.close(fd)


def _open_by_path(folder: Path, name: str, most: int) -> bytes:
    """Where no file can be opened relative to a folder (Windows): every part is looked at, and what was opened is it.

    Somebody who changes the folder meanwhile can have another file of this folder read; boxes, for which that would
    matter, are on Linux only.
    """
    path = folder
    try:
        *parents, last = name.split("/")
        for part in parents:
            path /= part
            if not stat.S_ISDIR((facts := path.lstat()).st_mode) or _is_junction(facts):
                raise UsageError(f"{folder}: {name!a} lies below what is no plain folder")
        path /= last
        before = path.lstat()
        _check(folder, name, before, None)
        with path.open("rb", buffering=0) as file:
            facts = os.fstat(file.fileno())
            _check(folder, name, facts, None)
            if (facts.st_dev, facts.st_ino) != (before.st_dev, before.st_ino):
                raise UsageError(f"{folder}: {name!a} has changed while it was opened; run again")
            return _chunks(file.fileno(), most)
    except OSError as error:
        raise UsageError(f"{folder}: {name!a} cannot be read: {error.strerror}") from None


def _is_junction(facts: os.stat_result) -> bool:
    """Whether a folder is a junction of Windows: it leads elsewhere, and is no link by its mode."""
    return bool(getattr(facts, "st_reparse_tag", 0) == _JUNCTION)


def _chunks(fd: int, most: int) -> bytes:
    """At most `most` bytes of an open file, and one more, which says that there are more."""
    chunks: list[bytes] = []
    left = most + 1
    while left and (chunk := os.read(fd, min(left, 1 << 20))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def _check(folder: Path, name: str, facts: os.stat_result, most: int | None) -> None:
    if not stat.S_ISREG(facts.st_mode):
        kind = _KINDS.get(stat.S_IFMT(facts.st_mode), "no regular file")
        raise UsageError(f"{folder}: {name!a} is {kind}; put a regular file in its place, or remove it")
    if most is not None and facts.st_size > most:
        raise UsageError(f"{folder}: {name!a} has {facts.st_size:,} bytes; the most for one file is {most:,}")


class Copy:
    """Bytes of files, and one folder with them: whoever runs the files, as often as it may be, sees that one copy.

    Args:
        name: of the folder.
        contents: bytes by name, with slashes for folders.
    """

    def __init__(self, name: str, contents: Mapping[str, bytes]) -> None:
        self._name = name
        self._contents = dict(contents)
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def folder(self) -> Path:
        """The copy, which stays as long as this object: written when it is first asked for, checked every time.

        Raises:
            UsageError: the copy is no longer what was written.
        """
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="golf-submission-")
            self._write(Path(self._scratch.name) / self._name)
        target = Path(self._scratch.name) / self._name
        if [one.name for one in walk(target)] != sorted(self._contents) or any(
            read(target, name) != content for name, content in self._contents.items()
        ):
            raise UsageError(f"the copy of {self._name} has changed while it was being judged; run again")
        return target

    def _write(self, target: Path) -> None:
        target.mkdir()
        for name, content in self._contents.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            with (target / name).open("xb") as file:
                file.write(content)
        for place, _, names in os.walk(target, topdown=False):
            for path in (*(os.path.join(place, name) for name in names), place):
                os.utime(path, (UNREAD, _STAMP))

"""Which files of the machine hold validation text: a scan that is done once and kept up folder by folder.

A folder whose date of change is that of the last scan holds the same files; of the others all files are read again.
Who changes a file of an installation in place, and sets the folder's date back, is not seen.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from harness.corpus.passages import BLOCK, RUN, Sought, Span, folded

#: Larger files are not read.
MOST_BYTES = 64 << 20

#: Folded text is looked through in pieces of about this size.
_BATCH = 8 << 20

#: First bytes of what holds no plain text to speak of: programs, libraries, archives, compressed files, pictures.
_BINARY = (
    b"\x7fELF", b"MZ", b"!<arch>", b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x89PNG",
    b"\xff\xd8\xff", b"\xca\xfe\xba\xbe", b"wOFF", b"wOF2", b"\0asm", b"BC\xc0\xde", b"\xca\xfe\xda\xda",
    b"\xde\x12\x04\x95",
)  # fmt: skip
#: Validation texts whose scans are kept, some megabytes each.
_KEPT = 8

#: Raise when what is remembered changes its meaning.
_FORMAT = 1


@dataclass
class Contents:
    """What one folder (or one file that is shown by itself) held when it was read.

    Attributes:
        changed: its date of change, nanoseconds.
        folders: names of the folders in it.
        files: how many files were read, and `bytes` their size.
        left_out: how many were not, by why.
        spans: passages by file name.
    """

    changed: int
    folders: list[str] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    spans: dict[str, list[Span]] = field(default_factory=dict)


@dataclass(frozen=True)
class Scan:
    """What all folders together held: passages by path, files read and their bytes, files left out by why."""

    spans: dict[str, list[Span]]
    files: int
    bytes: int
    left_out: dict[str, int]


#: What this process has scanned, by what was sought: runs that keep their caches apart share it.
_remembered: dict[str, dict[str, Contents]] = {}


def scan(sought: Sought, paths: Sequence[str], cache: Path, hide: Collection[str] = ()) -> Scan:
    """Look for passages in every file at or below some paths; links are not followed.

    Args:
        sought: what to look for.
        paths: files and folders.
        cache: folder where results are kept.
        hide: folders to leave out.
    """
    place = cache / f"at-hand-{sought.digest[:24]}.json"
    known = _remembered.get(sought.digest) or _loaded(place)
    now: dict[str, Contents] = {}
    batch = _Batch(sought)
    fresh = 0
    for path in paths:
        for folder in _changed(path, known, now, hide):
            now[folder] = _read(folder, batch)
            fresh += 1
    batch.finish()
    if fresh or len(now) != len(known):
        _keep(place, now)
    _remembered[sought.digest] = now
    left_out: Counter[str] = Counter()
    for contents in now.values():
        left_out.update(contents.left_out)
    spans = {
        os.path.join(folder, name) if name else folder: found
        for folder, contents in now.items()
        for name, found in contents.spans.items()
    }
    files, size = (sum(values) for values in zip(*((c.files, c.bytes) for c in now.values()), strict=True))
    return Scan(spans, files, size, dict(left_out))


def _changed(path: str, known: dict[str, Contents], now: dict[str, Contents], hide: Collection[str]) -> Iterator[str]:
    """The folders at or below a path that have to be read; the others are put into `now` as they are known."""
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        if folder in hide or folder in now:
            continue
        try:
            changed = os.stat(folder).st_mtime_ns
        except OSError:
            continue
        contents = known.get(folder)
        if contents is not None and contents.changed == changed:
            now[folder] = contents
        else:
            yield folder
        waiting += [os.path.join(folder, name) for name in now[folder].folders]


class _Batch:
    """Folded files one after the other, each from a block's start on, looked through together: most are small."""

    def __init__(self, sought: Sought) -> None:
        self._sought = sought
        self._parts: list[bytes] = []
        self._owners: list[tuple[int, Contents, str]] = []
        self._size = 0

    def add(self, data: bytes, contents: Contents, name: str) -> None:
        """A file; what is found in it is written into `contents`."""
        text = folded(data)
        text += bytes(-len(text) % BLOCK)  # no folded text holds a zero
        self._owners.append((self._size, contents, name))
        self._parts.append(text)
        self._size += len(text)
        if self._size >= _BATCH:
            self.finish()

    def finish(self) -> None:
        """Look through what is there."""
        owners = iter([*self._owners[1:], (self._size, Contents(0), "")])
        current, following = (self._owners or [(0, Contents(0), "")])[0], next(owners)
        for start, end, theirs in self._sought.find(b"".join(self._parts)):
            while theirs >= following[0]:
                current, following = following, next(owners)
            current[1].spans.setdefault(current[2], []).append((start, end))
        self._parts, self._owners, self._size = [], [], 0


def _read(folder: str, batch: _Batch) -> Contents:
    """Read the files of one folder, or one file by itself, whose name is then empty."""
    if not os.path.isdir(folder):
        contents = Contents(os.stat(folder).st_mtime_ns)
        _read_file(folder, "", contents, batch)
        return contents
    contents = Contents(os.stat(folder).st_mtime_ns)
    compiled = os.path.basename(folder) == "__pycache__"
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_symlink():
                    continue
                if entry.is_dir():
                    contents.folders.append(entry.name)
                elif compiled and os.path.exists(os.path.join(os.path.dirname(folder), _source(entry.name))):
                    _leave_out(contents, "compiled from a file that was read")
                elif entry.is_file():
                    _read_file(entry.path, entry.name, contents, batch)
    except OSError:
        _leave_out(contents, "unreadable")
    return contents


def _source(name: str) -> str:
    return f"{name.split('.')[0]}.py"


def _leave_out(contents: Contents, why: str) -> None:
    contents.left_out[why] = contents.left_out.get(why, 0) + 1


def _read_file(path: str, name: str, contents: Contents, batch: _Batch) -> None:
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read(4096) or b""
            if data.startswith(_BINARY):
                return _leave_out(contents, "binary")
            if len(data) == 4096:
                if os.fstat(file.fileno()).st_size > MOST_BYTES:
                    return _leave_out(contents, "too large")
                data += file.readall()
    except OSError:
        return _leave_out(contents, "unreadable")
    contents.files += 1
    contents.bytes += len(data)
    if len(data) >= RUN:
        batch.add(data, contents, name)


def _loaded(place: Path) -> dict[str, Contents]:
    try:
        kept = json.loads(place.read_bytes())
        if kept["format"] != _FORMAT:
            return {}
        return {folder: Contents(*facts) for folder, facts in kept["folders"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # none yet, or one that a crash cut short: then everything is read


def _keep(place: Path, now: dict[str, Contents]) -> None:
    """Write the cache whole or not at all; without a place to write, the next run reads everything again."""
    folders = {folder: [getattr(c, part.name) for part in fields(c)] for folder, c in now.items()}
    text = json.dumps({"format": _FORMAT, "folders": folders}, separators=(",", ":"))
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=place.parent, prefix=".at-hand-", delete=False) as file:
            file.write(text)
        os.replace(file.name, place)
        older = sorted(place.parent.glob("at-hand-*.json"), key=lambda file: file.stat().st_mtime)[:-_KEPT]
        for file_of_other_text in older:
            file_of_other_text.unlink(missing_ok=True)

"""The papers of a folder: its text files, read within bounds, and quotations from them.

Nothing is executed, imported or unpacked here. Whatever the files hold was written by strangers: texts are cut to a
bounded length, what is no regular file is refused, and a quotation is one clean line.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import UsageError
from harness.files import start, walk
from harness.folder import near
from harness.source import submission_json
from harness.text import clean

#: Bytes that are read of one text file; the longest merged log has 0.2 MB, the longest in a pull request 7 MB.
MOST_BYTES = 8_000_000
#: Files that are looked at in one folder.
MOST_FILES = 600
#: Characters that are looked at of one line: more than people write in one; packed code has longer ones.
LONGEST = 20_000

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LOGS = (".log", ".txt", ".out")
_CODE = (".py", ".cpp", ".cu", ".c", ".cc", ".h", ".hpp", ".cuh", ".pyx", ".sh")
_NO_LOG = re.compile(r"^(requirements|constraints|license|notes?|readme|cmakelists|vocab|setup)", re.I)


@dataclass(frozen=True)
class Quote:
    """A line of a file: its name in the folder, the line's number (from 1), and the line, cleaned and cut."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Number:
    """A number as it is written: value, half a unit of its last digit, and where it stands."""

    value: float
    half: float
    quote: Quote


@dataclass(frozen=True)
class Paper:
    """One file of the folder: its name relative to the folder, its size in bytes, and the folder."""

    name: str
    size: int
    folder: Path

    @cached_property
    def content(self) -> bytes:
        """The file's bytes, up to `MOST_BYTES`; empty where it cannot be read."""
        try:
            return start(self.folder, self.name, most=MOST_BYTES)
        except UsageError:
            return b""  # removed or swapped since it was listed

    @cached_property
    def lines(self) -> list[str]:
        """The file's lines as text: unknown bytes replaced, colours and progress bars' carriage returns removed."""
        if self.content[:2] in (b"\xff\xfe", b"\xfe\xff"):  # PowerShell's `>` writes UTF-16
            text = self.content.decode("utf-16", errors="replace")
        else:
            text = self.content.decode("utf-8", errors="replace")
        lines = text.replace("\r\n", "\n").split("\n")
        return [_ESCAPE.sub("", line[:LONGEST]).rsplit("\r", 1)[-1] for line in lines]

    @cached_property
    def sha256(self) -> str:
        """Digest of the bytes that were read."""
        return hashlib.sha256(self.content).hexdigest()

    def quote(self, index: int) -> Quote:
        """The line at an index (from 0) as a quotation."""
        return Quote(self.name, index + 1, clean(self.lines[index].strip(), 200))


@dataclass(frozen=True)
class Papers:
    """All files of one submission's folder, sorted by name."""

    path: Path
    files: tuple[Paper, ...]

    def named(self, name: str) -> Paper | None:
        """The file of that name."""
        return next((paper for paper in self.files if paper.name == name), None)

    @cached_property
    def metadata(self) -> list[Paper]:
        """submission.json, or files that are called nearly so, the nearest to the top first."""
        by_name = {paper.name: paper for paper in self.files}
        return [by_name[name] for name in submission_json.find(by_name)]

    @cached_property
    def logs(self) -> list[Paper]:
        """Files that may be logs, by their names."""
        return [
            p for p in self.files if p.name.lower().endswith(_LOGS) and not _NO_LOG.match(p.name.rsplit("/", 1)[-1])
        ]

    @cached_property
    def prose(self) -> list[Paper]:
        """Markdown files, README.md first."""
        found = [p for p in self.files if p.name.lower().endswith(".md")]
        return sorted(found, key=lambda p: (p.name.lower() != "readme.md", p.name))

    @cached_property
    def code(self) -> list[Paper]:
        """Source files."""
        return [p for p in self.files if p.name.lower().endswith(_CODE)]

    @cached_property
    def sha256(self) -> str:
        """Digest over names and contents of all files."""
        digest = hashlib.sha256()
        for paper in self.files:
            digest.update(f"{len(paper.name)}:{paper.name}:{paper.size}:{paper.sha256}".encode(errors="replace"))
        return digest.hexdigest()


def read(path: Path) -> Papers:
    """List the files of a folder. A file's contents are read when they are wanted.

    Raises:
        UsageError: there is no such folder, it holds no file, or something that is no regular file.
    """
    if not path.exists():
        raise UsageError(f"no folder {path}{near(path)}")
    if not path.is_dir():
        raise UsageError(f"{path} is a file; give the folder that holds submission.json, the logs and train_gpt.py")
    found = [Paper(one.name, one.size, path) for one in walk(path)[:MOST_FILES]]
    if not found:
        raise UsageError(f"{path} holds no files")
    return Papers(path, tuple(found))

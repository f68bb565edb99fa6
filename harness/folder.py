"""A submission's folder, read as data: metadata is validated, files are hashed, code is never imported."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UsageError
from harness.files import Copy, digest, is_regular, read, start, walk
from harness.source import submission_json
from harness.text import nearest

#: Files that describe a submission rather than being part of what runs. The box does not see them.
_PROSE = {"README.md", "submission.json", "LICENSE", "requirements.txt"}
_LOGS = (".log",)
#: Of these, the ones that a run does not depend on at all.
_WORDS = {"README.md", "LICENSE"}
_MAX_CODE = 8 << 20
#: Blanks within a line only: what crosses lines is tried again from every one of them.
_HARNESS = re.compile(rb"^[ \t]*(?:from|import)[ \t]+harness\b", re.MULTILINE)


class Metadata(BaseModel):
    """The contest's `submission.json`. Fields beyond these are kept as claims.

    `reads_validation` is the harness's own: training is then given the validation shards, is done again with others,
    and the two artifacts are compared.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(min_length=1, max_length=200)
    author: str = Field(min_length=1, max_length=200)
    github_id: str = Field(min_length=1, max_length=100)
    date: str | None = Field(default=None, max_length=40)
    track: str | None = Field(default=None, max_length=100)
    val_bpb: float | None = Field(default=None, gt=0, lt=100)
    val_loss: float | None = Field(default=None, gt=0, lt=100)
    bytes_total: int | None = Field(default=None, gt=0)
    blurb: str | None = None
    reads_validation: bool | None = Field(default=None, strict=True)


@dataclass(frozen=True)
class Folder:
    """A submission as files.

    Attributes:
        path: the folder, absolute.
        name: its last component.
        metadata: what submission.json says.
        sha256: over names and bytes of all files in sorted order, README, LICENSE and logs left out.
        files: (relative name, bytes) of every file.
        contents: the bytes of every file of `code`, read once: what is hashed, weighed and run.
    """

    path: Path
    name: str
    metadata: Metadata
    sha256: str
    files: tuple[tuple[str, int], ...]
    contents: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    _copy: Copy | None = field(default=None, repr=False, compare=False)

    @property
    def code(self) -> list[str]:
        """Names of the files that count as code or data of the submission, and that the box sees: no prose, no logs."""
        return [name for name, _ in self.files if _counts(name)]

    @contextlib.contextmanager
    def staged(self) -> Iterator[Path]:
        """A copy of the files that count, and of nothing else: what is not counted cannot be read in the box.

        It holds the bytes that `sha256` was taken of, and is one and the same for every box of a run.

        Raises:
            UsageError: the copy itself has been changed.
        """
        if self._copy is None:
            object.__setattr__(self, "_copy", Copy(safe_name(self.name), self.contents))
        assert self._copy is not None
        yield self._copy.folder()

    @property
    def reads_validation(self) -> bool:
        """Whether the submission declares that its training needs validation data."""
        return bool(self.metadata.reads_validation)

    @property
    def claims(self) -> dict[str, Any]:
        """Everything that submission.json claims, None left out."""
        return {key: value for key, value in self.metadata.model_dump(mode="json").items() if value is not None}


def is_adapter(path: Path) -> bool:
    """Whether a folder is built on the harness: it has a submission.py.

    Contest folders may have one too, beside the script that it starts: code that does not import the harness.
    """
    if not _there(path / "submission.py"):
        return False
    if not is_regular(path / "submission.py") or not is_regular(path / "train_gpt.py"):
        return True  # `open_folder` says what is wrong with a link or a FIFO of that name
    code = start(path, "submission.py", most=_MAX_CODE)
    return not (code.strip() and not _HARNESS.search(code))


def _there(path: Path) -> bool:
    """Whether there is anything but a folder at a path; links are not followed."""
    return (path.is_symlink() or path.exists()) and not (path.is_dir() and not path.is_symlink())


def open_folder(path: Path) -> Folder:
    """Read a submission's folder.

    Raises:
        UsageError: there is no such folder, or its submission.json or submission.py is missing or broken.
    """
    if not path.exists():
        raise UsageError(f"no submission at {path}{near(path)}")
    if not path.is_dir():
        raise UsageError(f"{path} is a file; give the folder that holds submission.json and submission.py")
    for needed in ("submission.json", "submission.py"):
        if not _there(path / needed):
            raise UsageError(f"{path} has no {needed}; `harness new NAME` scaffolds a working submission")
    sizes = []
    contents = {}
    for found in walk(path):
        name = found.name
        if not name.isprintable():
            raise UsageError(f"{path} holds a file with an unreadable name, {name!a}; rename it")
        if name in _WORDS or name.endswith(_LOGS):
            sizes.append((name, found.size))
            continue  # what a README says changes neither the artifact nor a verdict
        if name == "submission.json":
            with _told_of(path / name):
                submission_json.check_size(found.size)
        content = read(path, name)
        sizes.append((name, len(content)))
        contents[name] = content
    absolute = path.resolve()
    metadata = _metadata(path / "submission.json", contents["submission.json"])
    kept = {name: content for name, content in contents.items() if _counts(name)}
    return Folder(absolute, absolute.name, metadata, digest(contents), tuple(sizes), kept)


def near(path: Path) -> str:
    """What may have been meant by a path at which there is nothing, as the end of a message."""
    for parent in (path.parent, Path("submissions")):
        inside = [one.name for one in parent.iterdir() if one.is_dir()] if parent.is_dir() else []
        close = path.name if path.name in inside else nearest(path.name, inside)
        if close:
            return f"; did you mean {parent / close}?"
    return "; `harness list` shows those under submissions/"


def _counts(name: str) -> bool:
    return name not in _PROSE and not name.endswith(_LOGS)


def _metadata(path: Path, content: bytes) -> Metadata:
    with _told_of(path):
        said = submission_json.read(content)
    if said.odd:
        raise UsageError(f"{path} {said.odd[0]}")
    try:
        return Metadata.model_validate(said.data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {where}: {_plain(first)}") from None


@contextlib.contextmanager
def _told_of(path: Path) -> Iterator[None]:
    try:
        yield
    except submission_json.Unreadable as problem:
        raise UsageError(f"{path} {problem}") from None


def _plain(problem: Any) -> str:
    message = str(problem["msg"])
    given = problem.get("input")
    if problem["type"] == "missing":
        return "missing; every submission names it"
    return f"{message}, got {json.dumps(given, default=str)[:80]}"


def safe_name(text: str) -> str:
    """A folder name for a submission's outputs: letters, digits, dot, dash and underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:80] or "submission"

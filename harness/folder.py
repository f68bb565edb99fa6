"""A submission's folder, read as data: metadata is validated, files are hashed, code is never imported."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_jsonable_python

from harness.errors import UsageError

#: Files that describe a submission rather than being part of what runs. The box does not see them.
_PROSE = {"README.md", "submission.json", "LICENSE", "requirements.txt"}
_LOGS = (".log",)
#: Of these, the ones that a run does not depend on at all.
_WORDS = {"README.md", "LICENSE"}
_MAX_METADATA = 1 << 20
_HARNESS = re.compile(rb"^\s*(?:from|import)\s+harness\b", re.MULTILINE)


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
    """

    path: Path
    name: str
    metadata: Metadata
    sha256: str
    files: tuple[tuple[str, int], ...]

    @property
    def code(self) -> list[str]:
        """Names of the files that count as code or data of the submission, and that the box sees: no prose, no logs."""
        return [name for name, _ in self.files if name not in _PROSE and not name.endswith(_LOGS)]

    @contextlib.contextmanager
    def staged(self) -> Iterator[Path]:
        """A copy of the files that count, and of nothing else: what is not counted cannot be read in the box.

        Raises:
            UsageError: a file has changed since the folder was opened.
        """
        with tempfile.TemporaryDirectory(prefix="golf-submission-") as scratch:
            target = Path(scratch) / safe_name(self.name)
            for name in self.code:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.path / name, target / name)
            sizes = dict(self.files)
            if any((target / name).stat().st_size != sizes[name] for name in self.code):
                raise UsageError(f"{self.path} has changed while it was being judged; run again")
            yield target

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
    if not (path / "submission.py").is_file():
        return False
    code = (path / "submission.py").read_bytes()
    return not ((path / "train_gpt.py").is_file() and code.strip() and not _HARNESS.search(code))


def open_folder(path: Path) -> Folder:
    """Read a submission's folder.

    Raises:
        UsageError: there is no such folder, or its submission.json or submission.py is missing or broken.
    """
    if not path.exists():
        raise UsageError(f"no submission at {path}; `harness list` shows those under submissions/")
    if not path.is_dir():
        raise UsageError(f"{path} is a file; give the folder that holds submission.json and submission.py")
    for needed in ("submission.json", "submission.py"):
        if not (path / needed).is_file():
            raise UsageError(f"{path} has no {needed}; `harness new NAME` scaffolds a working submission")
    files = sorted(
        (found.relative_to(path).as_posix(), found)
        for found in path.rglob("*")
        if found.is_file() and not _ignored(found.relative_to(path))
    )
    digest = hashlib.sha256()
    sizes = []
    for name, found in files:
        if not name.isprintable():
            raise UsageError(f"{path} holds a file with an unreadable name, {name!a}; rename it")
        content = found.read_bytes()
        sizes.append((name, len(content)))
        if name in _WORDS or name.endswith(_LOGS):
            continue  # what a README says changes neither the artifact nor a verdict
        digest.update(f"{len(name)}:{name}:{len(content)}:".encode())
        digest.update(content)
    absolute = path.resolve()
    return Folder(absolute, absolute.name, _metadata(path / "submission.json"), digest.hexdigest(), tuple(sizes))


def _ignored(relative: Path) -> bool:
    return "__pycache__" in relative.parts or any(part.startswith(".") for part in relative.parts)


def _metadata(path: Path) -> Metadata:
    content = path.read_bytes()
    if len(content) > _MAX_METADATA:
        raise UsageError(f"{path} has {len(content):,} bytes; that is no metadata file")
    try:
        data = json.loads(content, parse_constant=_no_constant)
        json.dumps(data, allow_nan=False, ensure_ascii=False).encode()  # 1e999 and lone surrogates fit in no record
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{path} must hold an object with name, author and github_id")
    try:
        metadata = Metadata.model_validate(data)
        to_jsonable_python([[[[[[data]]]]]])  # a record holds it some levels down, and levels are limited
        return metadata
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {where}: {_plain(first)}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} nests objects or lists too deep for metadata") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number that JSON knows")


def _plain(problem: Any) -> str:
    message = str(problem["msg"])
    given = problem.get("input")
    if problem["type"] == "missing":
        return "missing; every submission names it"
    return f"{message}, got {json.dumps(given, default=str)[:80]}"


def safe_name(text: str) -> str:
    """A folder name for a submission's outputs: letters, digits, dot, dash and underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:80] or "submission"

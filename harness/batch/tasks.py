"""From a submission to a task: the command that judges it, the key of its result, and the folder where that is kept."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.environment import harness_sha256
from harness.files import read, walk
from harness.folder import safe_name
from harness.scripts.opening import is_script

#: The pull request whose head a label names.
_PULL = re.compile(r"@(?:refs/)?pull/(\d{1,9})/(?:head|merge):")


@dataclass(frozen=True)
class Settings:
    """How every submission of a batch is judged.

    Attributes:
        adapters: arguments of `harness run` for folders with a submission.py.
        scripts: arguments of `harness audit` for scripts.
        lint: arguments of `harness lint`; then nothing is run, and the other two are not used.
        places: further arguments of all three that say where something is, not what it is: the ruleset's name or file.
        data: likewise of `harness run`.
        identity: what these name, by content: "ruleset" and, where there are adapters, "data".
    """

    adapters: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    lint: tuple[str, ...] | None = None
    places: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    identity: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One submission to judge.

    Attributes:
        label: as it was listed.
        path: the submission, absolute.
        command: arguments of `harness`; HERE stands for the submission and THERE for the folder of the result.
        key: sha256 of everything that the result depends on.
        home: the folder of the result.
        seconds: after which it is stopped, None for never.
        data: sha256 of the data that its record must name, None for scripts, whose data the harness makes.
    """

    label: str
    path: Path
    command: tuple[str, ...]
    key: str
    home: Path
    seconds: float | None
    data: str | None = None

    HERE = "{submission}"
    THERE = "{out}"

    def arguments(self, here: Path, there: Path) -> list[str]:
        """The command for a submission at `here` whose results go to `there`."""
        places = {self.HERE: str(here), self.THERE: str(there)}
        return [places.get(word, word) for word in self.command]


def task_of(label: str, path: Path, settings: Settings, records: Path, seconds: float | None) -> Task:
    """The task for one submission. Its home is below `records`, found again by key whatever the folder is called.

    Raises:
        UsageError: a file of the submission cannot be read.
    """
    script = is_script(path)
    if settings.lint is not None:
        verb, words = "lint", settings.lint
    elif script:
        verb, words = "audit", settings.scripts
    else:
        verb, words = "run", settings.adapters
    if (pull := pull_of(label)) is not None:
        words = (*words, "--pull", str(pull))  # rulings on it count
    identity = dict(settings.identity)
    data = identity.get("data") if verb == "run" else None
    if verb != "run":
        identity.pop("data", None)
    body = {"files": files_sha256(path), "verb": verb, "arguments": words, "harness": harness_sha256(), **identity}
    key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    known = sorted(records.glob(f"*-{key[:16]}"))
    absolute = path.resolve()
    name = safe_name(absolute.stem if path.is_file() else absolute.name)
    home = known[0] if known else records / f"{name}-{key[:16]}"
    more = (*settings.places, *(settings.data if verb == "run" else ()), *(("--quiet",) if verb != "lint" else ()))
    command = (verb, Task.HERE, "--out", Task.THERE, *words, *more)
    return Task(label, path.absolute(), command, key, home.absolute(), seconds, data)


def pull_of(label: str) -> int | None:
    """The pull request whose head a label names."""
    found = _PULL.search(label)
    return int(found[1]) if found else None


def files_of(path: Path) -> Iterator[tuple[str, Path]]:
    """(name, file) of every file of a submission that the harness reads: nothing hidden, no compiled code.

    Raises:
        UsageError: there is something that is no regular file, or too much.
    """
    if path.is_file():
        yield path.name, path
        return
    for found in walk(path):
        yield found.name, path / found.name


def files_sha256(path: Path) -> str:
    """sha256 over names and bytes of a submission's files: README and logs too, because evidence is read from them.

    Raises:
        UsageError: there is something that is no regular file, or too much.
    """
    digest = hashlib.sha256()
    folder = path.parent if path.is_file() else path
    for name, _ in files_of(path):
        content = hashlib.sha256(read(folder, name)).digest()
        digest.update(f"{len(name)}:".encode() + os.fsencode(name) + b":%d:" % len(content) + content)
    return digest.hexdigest()

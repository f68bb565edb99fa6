"""Results that are there already: an interrupted gate's own, or those of a cache; each is checked before it is used.

In CI nothing is taken from either: a cache there may have been filled by another pull request's run, and a verdict
that stops or passes a pull request is made by the run that reports it.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from harness.errors import HarnessError
from harness.files import sha256, write_atomically
from harness.record import Record

ENTRY = "entry.json"
_FILES = ("record.json", "report.html")
_SEAL = ("artifact.bin", "seal.json")


def in_ci() -> bool:
    """Whether this runs in CI, as every CI says by the variable CI."""
    return os.environ.get("CI", "").strip().lower() not in ("", "0", "false", "no")


def mark(folder: Path, key: str) -> None:
    """Say what the record in `folder` belongs to, and what its bytes are; the last thing that is written there."""
    sums = {name: sha256(folder / name) for name in _FILES}
    write_atomically(folder / ENTRY, json.dumps({"key": key, "sha256": sums}, indent=1).encode())


def take(folder: Path, key: str) -> Record | None:
    """The record in `folder`, if it is whole, is what was written there, and belongs to `key`."""
    try:
        entry = json.loads((folder / ENTRY).read_bytes())
        whole = entry["key"] == key and all(entry["sha256"][name] == sha256(folder / name) for name in _FILES)
        record = Record.load(folder) if whole else None
    except (OSError, ValueError, KeyError, TypeError, HarnessError):
        return None
    return record if record is not None and record.digest == record.computed_digest() else None


class Store:
    """A folder of results by key: `records/KEY/` and `artifacts/KEY/`.

    Args:
        root: made when something is put there; None keeps nothing.
        readable: whether anything is taken from it.
    """

    def __init__(self, root: Path | None, *, readable: bool) -> None:
        self._root = root
        self._readable = readable and root is not None

    def record(self, key: str, target: Path) -> Record | None:
        """Copy the record and report of `key` into `target` and return the record; None if there is none to trust."""
        source = self._at("records", key)
        if not self._readable or source is None or take(source, key) is None:
            return None
        _copy(source, target, (*_FILES, ENTRY))
        return take(target, key)

    def keep_record(self, key: str, source: Path) -> None:
        """Keep a record that was just made; what is there for the key is replaced."""
        _replace(self._at("records", key), source, (*_FILES, ENTRY))

    def artifact(self, key: str, target: Path) -> bool:
        """Copy a sealed artifact to `target`, where the pipeline looks for one and checks it; whether there was one."""
        source = self._at("artifacts", key)
        if not self._readable or source is None or not all((source / name).is_file() for name in _SEAL):
            return False
        _copy(source, target, _SEAL)
        return True

    def keep_artifact(self, key: str, source: Path) -> None:
        """Keep the sealed artifact in `source`."""
        _replace(self._at("artifacts", key), source, _SEAL)

    def _at(self, kind: str, key: str) -> Path | None:
        return self._root / kind / key if self._root else None


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        write_atomically(target / name, (source / name).read_bytes())


def _replace(target: Path | None, source: Path, names: tuple[str, ...]) -> None:
    """Several runs may fill one cache: what is half written never stands under the key."""
    if target is None or not all((source / name).is_file() for name in names):
        return
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        _copy(source, part, names)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(part, target)
    except OSError as error:
        raise HarnessError(f"cannot write the cache at {target.parent}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)

"""Which files the script opens; a /tmp of its own; and, in a forked run, other contents behind the same names.

Mappings of a file become private copies-on-write, still read-only to the script, so that a forked run can change the
tokens in memory that it shares with nobody.
"""

from __future__ import annotations

import builtins
import io
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

#: Real path -> how often it was opened, and bytes (the file's size at the time).
OPENED: dict[str, list[int]] = {}
#: Real path -> the path that is opened instead. Filled in forked runs.
REDIRECT: dict[str, str] = {}
_FOLDER: list[str] = []
_MOST = 2000
#: Functions of `os` whose first argument, or first two, name files.
_NAMING = (
    "open", "stat", "lstat", "mkdir", "remove", "unlink", "rmdir", "listdir", "scandir", "access", "chmod", "truncate",
    "utime", "rename", "replace", "link", "symlink",
)  # fmt: skip
_TWO_NAMES = {"rename", "replace", "link", "symlink"}


def watch(folder: str) -> None:
    """Note every file below `folder` that is opened from now on; /tmp is a folder beside it from now on."""
    _FOLDER[:] = [os.path.realpath(folder) + "/"]
    scratch = os.path.dirname(os.path.realpath(folder))
    tmp = os.path.join(scratch, "tmp")
    os.makedirs(tmp, exist_ok=True)
    real = [os.path.dirname(scratch), sys.prefix, sys.base_prefix, *sys.path]
    _moved.update(tmp=tmp, stay=tuple(place for place in real if place.startswith("/tmp/")))


_moved: dict[str, Any] = {"tmp": "", "stay": ()}


def apart(number: int) -> None:
    """Give a forked process a /tmp of its own, as it is now: scripts keep counters of their queues there."""
    if _moved["tmp"]:
        own = f"{_moved['tmp']}-{number}"
        shutil.copytree(_moved["tmp"], own, dirs_exist_ok=True)
        _moved["tmp"] = own


def _own(name: Any) -> Any:
    """A name below /tmp, which the box may not write, as one below the scratch folder; others unchanged."""
    if not isinstance(name, (str, os.PathLike)) or not _moved["tmp"]:
        return name
    text = os.fspath(name)
    if not isinstance(text, str) or not text.startswith("/tmp/") or text.startswith(_moved["stay"]):
        return name
    return _moved["tmp"] + text[4:]


def facts() -> list[dict[str, Any]]:
    """[{"name": relative to the watched folder, "opened": times, "bytes": size}], by name."""
    base = _FOLDER[0] if _FOLDER else ""
    return [
        {"name": path.removeprefix(base), "opened": count, "bytes": size}
        for path, (count, size) in sorted(OPENED.items())
    ]


def _seen(name: Any) -> Any:
    """The name to open; a file below the watched folder is noted."""
    if not isinstance(name, (str, bytes, os.PathLike)) or not _FOLDER:
        return name
    name = _own(name)
    path = os.path.realpath(os.fsdecode(name))
    if not path.startswith(_FOLDER[0]):
        return name
    if path in OPENED or len(OPENED) < _MOST:
        entry = OPENED.setdefault(path, [0, 0])
        entry[0] += 1
        entry[1] = os.path.getsize(path) if os.path.isfile(path) else 0
    return REDIRECT.get(path, name)


def _first(function: Callable[..., Any]) -> Callable[..., Any]:
    def stand_in(name: Any, *args: Any, **kwargs: Any) -> Any:
        return function(_seen(name), *args, **kwargs)

    stand_in.__name__ = function.__name__
    return stand_in


class _Kind(type):
    def __instancecheck__(cls, thing: Any) -> bool:
        return isinstance(thing, _real_memmap)


_real_memmap = np.memmap


class _Memmap(np.memmap, metaclass=_Kind):
    """`numpy.memmap` of a file that is only read: private memory, behind the same read-only array."""

    def __new__(cls, filename: Any, dtype: Any = np.uint8, mode: Any = "r+", *args: Any, **kwargs: Any) -> Any:
        private = mode in ("r", "readonly", "c", "copyonwrite")
        made = _real_memmap.__new__(_real_memmap, _seen(filename), dtype, "c" if private else mode, *args, **kwargs)
        if mode in ("r", "readonly"):
            made.flags.writeable = False
        return made


def install() -> None:
    """Replace the functions that open files by name."""
    opener = builtins.open
    everywhere: Any = builtins
    everywhere.open = io.open = _first(opener)
    array: Any = np
    array.fromfile = _first(np.fromfile)
    array.load = _first(np.load)
    array.memmap = _Memmap
    import torch

    library: Any = torch
    save, from_file = torch.save, torch.from_file
    library.save = lambda obj, f, *args, **kwargs: save(obj, _own(f), *args, **kwargs)

    def private(filename: Any, shared: bool | None = None, *args: Any, **kwargs: Any) -> Any:
        return from_file(os.fspath(_seen(filename)), False, *args, **kwargs)

    library.from_file = private
    system: Any = os
    for name in _NAMING:
        setattr(system, name, _named(getattr(os, name), 2 if name in _TWO_NAMES else 1))


def _named(function: Callable[..., Any], names: int) -> Callable[..., Any]:
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return function(*map(_own, args[:names]), *args[names:], **kwargs)

    stand_in.__name__ = function.__name__
    return stand_in

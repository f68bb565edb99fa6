"""Which files the script opens; a /tmp of its own; and, in a forked run, other contents behind the same names.

Names of the machine that a script was written on (`/workspace/data/datasets/...`, `~/data/...`, `../../data/...`) lead
to the data of the run where nothing is there and the name is that of a shard, a folder of shards or a tokenizer; what
the script writes to such places goes to a folder of its own.

Mappings of a file become private copies-on-write, still read-only to the script, so that a forked run can change the
tokens in memory that it shares with nobody.
"""

from __future__ import annotations

import builtins
import io
import os
import re
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
_lstat, _listdir, _mkdir = os.lstat, os.listdir, os.mkdir
_SHARD = re.compile(r"^fineweb_(train|val)\w*\.bin$")
#: Folders that hold shards, by their last name.
_SHARDS = re.compile(r"^fineweb|^fw_?\d|shards$|^data_|_data$|^sp\d+", re.I)
_TWO_NAMES = {"rename", "replace", "link", "symlink"}


def watch(folder: str) -> None:
    """Note every file below `folder` that is opened from now on; /tmp is a folder beside it from now on."""
    _FOLDER[:] = [os.path.realpath(folder) + "/"]
    scratch = os.path.dirname(os.path.realpath(folder))
    tmp = os.path.join(scratch, "tmp")
    os.makedirs(os.path.join(tmp, "elsewhere"), exist_ok=True)
    real = [os.path.dirname(scratch), sys.prefix, sys.base_prefix, *sys.path]
    _moved.update(tmp=tmp, stay=tuple(place for place in real if place.startswith("/tmp/")))


_moved: dict[str, Any] = {"tmp": "", "stay": ()}


def apart(number: int) -> None:
    """Give a forked process a /tmp of its own, as it is now: scripts keep counters of their queues there."""
    if _moved["tmp"]:
        own = f"{_moved['tmp']}-{number}"
        shutil.copytree(_moved["tmp"], own, dirs_exist_ok=True)
        _moved["tmp"] = own


def _own(name: Any, made: bool = False) -> Any:
    """A name below /tmp, which the box may not write, as one below the scratch folder; others see `_elsewhere`.

    `made`: the file is to be made, so that the folders above it are.
    """
    if not isinstance(name, (str, os.PathLike)) or not _moved["tmp"]:
        return name
    text = os.fspath(name)
    if not isinstance(text, str) or not text:
        return name
    if text.startswith("/tmp/") and not text.startswith(_moved["stay"]):
        return _moved["tmp"] + text[4:]
    other = _elsewhere(text)
    if made and other.startswith(_moved["tmp"]):
        _made_folders(os.path.dirname(other))
    return other or name


def _elsewhere(text: str) -> str:
    """Where a name leads that is not there: to the run's data, or, where a whole machine is missing, to a folder."""
    if not _FOLDER or os.path.basename(text).startswith(".") or _there(text):
        return ""
    if data := _furnished(text):
        return data
    if not text.startswith("/") or _there("/" + text.split("/")[1]):
        return ""
    return f"{_moved['tmp']}/elsewhere{text}"


def _furnished(text: str) -> str:
    """The run's own file or folder for the name of a shard, a folder of shards or a tokenizer; "" for others."""
    root = _FOLDER[0] + "data"
    path, own = os.path.split(os.path.normpath(text))
    sets, models = _listed(f"{root}/datasets"), _listed(f"{root}/tokenizers")
    if not sets or not models:
        return ""
    shards = f"{root}/datasets/{sets[0]}"
    if own.endswith(".model"):
        return f"{root}/tokenizers/{next((name for name in models if name.endswith('.model')), models[0])}"
    if own.endswith(".json") and "tokenizers" in path.split("/"):
        return next((f"{root}/tokenizers/{name}" for name in models if name.endswith(".json")), "")
    if _SHARD.search(own):
        return f"{shards}/{own}" if _there(f"{shards}/{own}") else ""
    if own in ("data", "datasets", "tokenizers"):
        return {"data": root}.get(own, f"{root}/{own}")
    return shards if "." not in own and _SHARDS.search(own) else ""


def _made_folders(path: str) -> None:
    """`os.makedirs` by the functions that were there before they were replaced."""
    if not _there(path):
        _made_folders(os.path.dirname(path))
        _mkdir(path)


def _there(path: str) -> bool:
    try:
        _lstat(path)
    except (OSError, ValueError):
        return False
    return True


def _listed(path: str) -> list[str]:
    try:
        return sorted(_listdir(path))
    except OSError:
        return []


def facts() -> list[dict[str, Any]]:
    """[{"name": relative to the watched folder, "opened": times, "bytes": size}], by name."""
    base = _FOLDER[0] if _FOLDER else ""
    return [
        {"name": path.removeprefix(base), "opened": count, "bytes": size}
        for path, (count, size) in sorted(OPENED.items())
    ]


def _seen(name: Any, made: bool = False) -> Any:
    """The name to open; a file below the watched folder is noted."""
    if not isinstance(name, (str, bytes, os.PathLike)) or not _FOLDER:
        return name
    name = _own(name, made)
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
        mode = kwargs.get("mode", args[0] if args else "")
        return function(_seen(name, isinstance(mode, str) and mode[:1] in ("w", "a", "x")), *args, **kwargs)

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
    library.save = lambda obj, f, *args, **kwargs: save(obj, _own(f, True), *args, **kwargs)

    def private(filename: Any, shared: bool | None = None, *args: Any, **kwargs: Any) -> Any:
        return from_file(os.fspath(_seen(filename)), False, *args, **kwargs)

    library.from_file = private
    _tokenizers()
    system: Any = os
    for name in _NAMING:
        setattr(system, name, _named(getattr(os, name), 2 if name in _TWO_NAMES else 1))


def _tokenizers() -> None:
    """SentencePiece opens its models itself."""
    try:
        import sentencepiece
    except ImportError:
        return
    processor: Any = sentencepiece.SentencePieceProcessor
    load = processor.LoadFromFile
    processor.LoadFromFile = lambda self, name: load(self, _own(name))


def _named(function: Callable[..., Any], names: int) -> Callable[..., Any]:
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return function(*map(_own, args[:names]), *args[names:], **kwargs)

    stand_in.__name__ = function.__name__
    return stand_in

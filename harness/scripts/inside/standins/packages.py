"""Packages that only a size or a convenience depends on, where they are not installed.

Compressors keep what they promise: what comes back is what went in. The size of an artifact made with a stand-in
says nothing, and the evidence names the stand-in.
"""

from __future__ import annotations

import bz2
import importlib.util
import lzma
import sys
import types
import zlib
from collections.abc import Callable
from typing import Any

from harness.scripts.inside.standins.uses import MISSING, module, place, used


def _pack(name: str, pack: Callable[[bytes], bytes], unpack: Callable[[bytes], bytes]) -> types.ModuleType:
    def compress(data: Any, *_: Any, **__: Any) -> bytes:
        used(name)
        return pack(bytes(data))

    return module(name, compress=compress, decompress=lambda data, *_, **__: unpack(bytes(data)))


def _minifier() -> types.ModuleType:
    def minify(source: str, *_: Any, **__: Any) -> str:
        used("python_minifier")
        return source

    return module("python_minifier", minify=minify)


def _progress() -> types.ModuleType:
    return module("tqdm", tqdm=lambda iterable=None, *_, **__: iterable, trange=lambda *args, **_: range(*args))


def _logging_service() -> types.ModuleType:
    def nothing(*_: Any, **__: Any) -> None:
        used("wandb")

    return module("wandb", init=nothing, log=nothing, finish=nothing, run=None, config={})


def _no_numba() -> types.ModuleType:
    def same(*args: Any, **_: Any) -> Any:
        used("numba")
        return args[0] if args and callable(args[0]) else (lambda function: function)

    return module("numba", njit=same, jit=same, prange=range, set_num_threads=lambda n: None)


def _psutil() -> types.ModuleType:
    return module("psutil", virtual_memory=lambda: types.SimpleNamespace(total=2 << 40, available=1 << 40),
                  cpu_count=lambda logical=True: 1)  # fmt: skip


_MADE: dict[str, Callable[[], Any]] = {
    "zstd": lambda: _pack("zstd", zlib.compress, zlib.decompress),
    "lz4.frame": lambda: (module("lz4"), _pack("lz4.frame", zlib.compress, zlib.decompress)),
    "brotlicffi": lambda: _pack("brotlicffi", lzma.compress, lzma.decompress),
    "pyppmd": lambda: _pack("pyppmd", bz2.compress, bz2.decompress),
    "python_minifier": _minifier,
    "tqdm": _progress,
    "wandb": _logging_service,
    "numba": _no_numba,
    "psutil": _psutil,
}


class _Missing:
    """The last finder: names what a script wanted and nobody has. The import still fails as imports do."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if path is None and "." not in name and name in _NEEDS_CARD:
            MISSING.append({"name": f"package {name}", "why": "it runs on a card only", "place": place()})


_NEEDS_CARD = {"transformer_engine", "cutlass", "xformers", "bitsandbytes", "apex", "liger_kernel"}


def install() -> None:
    """Make those importable that are not."""
    for name, make in _MADE.items():
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            make()
    sys.meta_path.append(_Missing)

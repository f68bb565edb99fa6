"""Find the validation tokens in a running process, wherever the script keeps them, and change some.

Tensors and numpy arrays (whole, slices, batches, other integer types, pinned, memory-mapped), bytes that arrays will be
made of, lists of integers, and the files that later reads would go to. Tokens are recognised by their company: in a
stream of unique tokens, eight in a row that stand side by side in the stream are no accident (two would be: counters
go up by one, and somewhere a permutation does too). In a stream whose tokens repeat, rows of 64 tokens or more are
recognised that equal one stretch of the stream.
"""

from __future__ import annotations

import array
import ctypes
import gc
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

Ints = np.ndarray[Any, np.dtype[np.int64]]
Flat = np.ndarray[Any, np.dtype[Any]]
_SHORTEST_BYTES = 512
_SHORTEST_LIST = 16
_SHORTEST_ROW = 64
_SHORTEST_RUN = 8


@dataclass
class Edit:
    """One variant's changes.

    Attributes:
        stream: uint16 [n], what the process holds now.
        position_of: int64 [65536] or None where the stream's tokens repeat.
        new: int64 [n], the token to put at each position, -1 for none.
        done: counts of "arrays", "tokens", "lists", "files", "refused".
    """

    stream: Flat
    position_of: Ints | None
    new: Ints
    done: Counter[str] = field(default_factory=lambda: Counter(arrays=0, tokens=0, lists=0, files=0, refused=0))
    _index: dict[bytes, list[int]] = field(default_factory=dict)  # rows of the stream -> where they start
    _own: set[int] = field(default_factory=set)  # addresses that are the harness's

    @classmethod
    def of(cls, stream: Flat, position_of: Ints, bos: int, positions: Ints, tokens: Flat) -> Edit:
        """The edit that puts `tokens` at `positions`."""
        new = np.full(len(stream), -1, np.int64)
        new[positions] = tokens
        inner = np.flatnonzero(stream != bos)
        unique = bool((position_of[stream[inner].astype(np.int64)] == inner).all())
        own = {int(item.__array_interface__["data"][0]) for item in (stream, position_of, positions, tokens)}
        return cls(stream.copy(), position_of if unique else None, new, _own=own)

    def where(self, values: Ints) -> tuple[Ints, Ints]:
        """Which of `values` (int64 [m]) are to be changed, and into what."""
        positions = self._by_token(values) if self.position_of is not None else self._by_row(values)
        chosen = np.flatnonzero(positions >= 0)
        chosen = chosen[self.new[positions[chosen]] >= 0]
        return chosen, self.new[positions[chosen]]

    def _by_token(self, values: Ints) -> Ints:
        assert self.position_of is not None
        found = np.where((values >= 0) & (values < 65536), self.position_of[values & 0xFFFF], -1)
        if not (found >= 0).any():
            return found
        found[self.stream[np.maximum(found, 0)] != values] = -1  # a token of the other permutation
        breaks = np.flatnonzero((np.diff(found) != 1) | (found[:-1] < 0)) + 1
        starts = np.concatenate([[0], breaks])
        lengths = np.diff(np.concatenate([starts, [len(found)]]))
        return np.where(np.repeat(lengths, lengths) >= _SHORTEST_RUN, found, -1)

    def _by_row(self, values: Ints) -> Ints:
        found = np.full(len(values), -1, np.int64)
        if len(values) < _SHORTEST_ROW:
            return found
        at = 0
        stream = self.stream.astype(np.int64)
        index = self._index
        for start in range(len(stream) - _SHORTEST_ROW + 1) if not index else ():
            index.setdefault(stream[start : start + _SHORTEST_ROW].tobytes(), []).append(start)
        while at + _SHORTEST_ROW <= len(values):
            starts = index.get(values[at : at + _SHORTEST_ROW].tobytes(), [])
            if len(starts) != 1:
                at += 1
                continue
            length = min(len(values) - at, len(stream) - starts[0])
            differs = np.flatnonzero(values[at : at + length] != stream[starts[0] : starts[0] + length])
            length = int(differs[0]) if len(differs) else length
            found[at : at + length] = np.arange(starts[0], starts[0] + length)
            at += length
        return found

    def everywhere(self, folder: str, held: list[Any]) -> dict[str, int]:
        """Change every copy in this process, and the files below `folder` for this process alone.

        Args:
            folder: where the script runs.
            held: what could hold tokens, see `things`.
        """
        mappings = _writable()
        seen = self._own | {int(self.stream.__array_interface__["data"][0])}
        for thing in held:
            kind = type(thing)
            if kind is list:
                self._list(thing)
                continue
            for flat in _flat(thing):
                address = int(flat.__array_interface__["data"][0])
                if address in seen or flat.nbytes < 2 * flat.itemsize:
                    continue
                seen.add(address)
                self._flat(flat, address, mappings)
        self._files(folder)
        return dict(self.done)

    def _flat(self, flat: Flat, address: int, mappings: list[tuple[int, int]]) -> None:
        values = flat.astype(np.int64)
        if flat.dtype.kind == "i" and flat.itemsize == 2:
            values &= 0xFFFF
        chosen, tokens = self.where(values)
        if not len(chosen):
            return
        if not any(start <= address and address + flat.nbytes <= end for start, end in mappings):
            self.done["refused"] += 1
            return
        writable = _memory(address, flat.nbytes, flat.dtype)
        if flat.itemsize == 2:
            writable = writable.view(np.uint16)
        writable[chosen] = tokens
        self.done["arrays"] += 1
        self.done["tokens"] += len(chosen)

    def _list(self, items: list[Any]) -> None:
        if len(items) < _SHORTEST_LIST or type(items[0]) is not int or type(items[-1]) is not int:
            return
        try:
            values = np.array(items, np.int64)
        except (TypeError, ValueError, OverflowError):
            return
        if values.ndim != 1:
            return
        chosen, tokens = self.where(values)
        for index, token in zip(chosen.tolist(), tokens.tolist(), strict=True):
            items[index] = token
        if len(chosen):
            self.done["lists"] += 1
            self.done["tokens"] += len(chosen)

    def _files(self, folder: str) -> None:
        """Later reads of a shard get an edited copy."""
        from harness.scripts.inside.standins import files

        copies = os.path.join(os.path.dirname(folder), f"fork-{os.getpid()}")
        for place, _, names in os.walk(os.path.join(folder, "data")):
            for name in names:
                path = os.path.realpath(os.path.join(place, name))
                if not name.endswith(".bin"):
                    continue
                content = np.fromfile(path, np.uint16)
                chosen, tokens = self.where(content.astype(np.int64))
                if not len(chosen):
                    continue
                content[chosen] = tokens
                os.makedirs(copies, exist_ok=True)
                copy = os.path.join(copies, f"{len(files.REDIRECT)}-{name}")
                shutil.copyfile(path, copy)
                content.tofile(copy)
                files.REDIRECT[path] = copy
                self.done["files"] += 1


_HOLDERS = (torch.Tensor, np.ndarray, list, bytes, bytearray, memoryview, array.array)


def things() -> list[Any]:
    """Everything that could hold tokens: what the collector knows, what these refer to, and running frames' locals."""
    known = gc.get_objects()
    found = [thing for thing in _holders(known) if type(thing) is list or isinstance(thing, torch.Tensor)]
    found += [thing for thing in _holders(gc.get_referents(*known)) if type(thing) is not list]
    for frame in sys._current_frames().values():
        at: Any = frame
        while at is not None:
            found += _holders(list(at.f_locals.values()))
            at = at.f_back
    return found


def _holders(some: list[Any]) -> list[Any]:
    """Those that can hold tokens, told by their types: there are millions, and some run code when they are asked."""
    kinds = {kind for kind in set(map(type, some)) if issubclass(kind, _HOLDERS)}
    return [thing for thing in some if type(thing) in kinds]


def _flat(thing: Any) -> Iterator[Flat]:
    """The whole memory behind a thing as one row of integers; nothing where it holds none."""
    try:
        if isinstance(thing, torch.Tensor):
            if thing.is_floating_point() or thing.is_complex() or thing.dtype == torch.bool or thing.is_sparse:
                return
            storage = thing.untyped_storage()
            code = {1: "u1", 2: "<u2", 4: "<i4", 8: "<i8"}[thing.element_size()]
            if storage.nbytes() and thing.element_size() > 1:
                yield _memory(storage.data_ptr(), storage.nbytes(), np.dtype(code))
        elif isinstance(thing, np.ndarray):
            root = thing
            while isinstance(root.base, np.ndarray):
                root = root.base
            for item in (root, thing):
                if item.dtype.kind in "iu" and item.itemsize > 1 and item.flags.c_contiguous and item.dtype.isnative:
                    yield item.reshape(-1).view(np.ndarray)
        elif not isinstance(thing, array.array) or thing.typecode in "hHiIlLqQ":
            size = getattr(thing, "nbytes", None) or len(thing) * getattr(thing, "itemsize", 1)
            if size >= _SHORTEST_BYTES:
                code = f"<u{thing.itemsize}" if isinstance(thing, array.array) else "<u2"
                yield np.frombuffer(thing, code, count=size // np.dtype(code).itemsize)
    except (RuntimeError, KeyError, TypeError, ValueError, BufferError, NotImplementedError):
        return


def _memory(address: int, size: int, dtype: Any) -> Flat:
    """`size` bytes at an address as a writable row, whatever their owner says of them."""
    raw: Any = (ctypes.c_uint8 * size).from_address(address)
    return np.frombuffer(raw, dtype)


def _writable() -> list[tuple[int, int]]:
    """Address ranges that this process may write, neighbours joined."""
    ranges: list[tuple[int, int]] = []
    with open("/proc/self/maps") as lines:
        for line in lines:
            span, rights = line.split(maxsplit=2)[:2]
            start, end = (int(part, 16) for part in span.split("-"))
            if rights[1] != "w":
                continue
            if ranges and ranges[-1][1] == start:
                ranges[-1] = (ranges[-1][0], end)
            else:
                ranges.append((start, end))
    return ranges

"""Training batches from token shards.

A shard is 256 little-endian int32 (20240520, 1, n, then zeros) followed by n little-endian uint16 token ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

_HEADER_INTS = 256
_HEADER_BYTES = 4 * _HEADER_INTS
_MAGIC, _VERSION = 20240520, 1

Tokens = np.ndarray[tuple[int], np.dtype[np.uint16]]


def open_shard(path: Path) -> Tokens:
    """Map a shard's tokens into memory, read-only: uint16 [n].

    Raises:
        ValueError: the file is not a shard, or is truncated, or is longer than its header says.
    """
    size = path.stat().st_size
    if size < _HEADER_BYTES:
        raise ValueError(f"{path.name}: {size} bytes is too short for a shard header of {_HEADER_BYTES} bytes")
    magic, version, count = (int(value) for value in np.fromfile(path, dtype="<i4", count=3))
    if (magic, version) != (_MAGIC, _VERSION):
        raise ValueError(f"{path.name}: not a token shard (magic {magic}, version {version})")
    if count < 0 or size != _HEADER_BYTES + 2 * count:
        raise ValueError(f"{path.name}: header promises {count} tokens, the file holds {(size - _HEADER_BYTES) / 2:g}")
    if count == 0:
        return np.empty(0, dtype="<u2")
    return np.memmap(path, dtype="<u2", mode="r", offset=_HEADER_BYTES, shape=(count,))


class Loader(Protocol):
    """What the trainer draws batches from."""

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the next step: two int64 [batch_tokens / sequence_length, sequence_length]."""


def whole_sequences(batch_tokens: int, sequence_length: int) -> int:
    """Sequences in a batch.

    Raises:
        ValueError: batch_tokens is not a multiple of sequence_length.
    """
    if sequence_length < 1 or batch_tokens < 1 or batch_tokens % sequence_length:
        raise ValueError(f"batch_tokens {batch_tokens} must be a multiple of sequence_length {sequence_length}")
    return batch_tokens // sequence_length


def open_shards(shards: Sequence[Path]) -> list[Tokens]:
    """The tokens of each shard, in the order of the shards' names.

    Raises:
        ValueError: a file is not a whole shard.
    """
    return [open_shard(path) for path in sorted(shards, key=lambda path: path.name)]


class SequentialLoader:
    """Reads shards in the order of their names as one endless stream, and starts again at its end.

    Step i (from 0) has the inputs at stream positions [i*B, (i+1)*B) for B = batch_tokens; targets are one further, so
    consecutive steps share one token and every token is once an input and once a target in a pass over the data.

    Attributes:
        tokens: tokens in one pass.

    Raises:
        ValueError: no shards, no tokens, a bad shard, or batch_tokens that is not a multiple of sequence_length.
    """

    def __init__(self, shards: Sequence[Path], batch_tokens: int, sequence_length: int) -> None:
        whole_sequences(batch_tokens, sequence_length)
        self._shards = open_shards(shards)
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])
        self.tokens = int(self._starts[-1])
        if self.tokens == 0:
            raise ValueError(f"no training tokens in {len(self._shards)} shards")
        self._batch_tokens, self._sequence_length = batch_tokens, sequence_length
        self._position = 0

    def _read(self, start: int, count: int) -> Tokens:
        parts = []
        while count:
            start %= self.tokens
            index = int(np.searchsorted(self._starts, start, side="right")) - 1
            offset = start - int(self._starts[index])
            part = self._shards[index][offset : offset + count]
            parts.append(part)
            start += len(part)
            count -= len(part)
        return np.concatenate(parts)

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the next step: two int64 [batch_tokens / sequence_length, sequence_length]."""
        chunk = torch.from_numpy(self._read(self._position, self._batch_tokens + 1).astype(np.int64))
        self._position = (self._position + self._batch_tokens) % self.tokens
        return chunk[:-1].view(-1, self._sequence_length), chunk[1:].view(-1, self._sequence_length)

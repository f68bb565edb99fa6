"""The contest's token files: a header of 256 little-endian int32, then little-endian uint16 tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import UsageError

MAGIC = 20240520
VERSION = 1
HEADER_INTS = 256
HEADER_BYTES = 4 * HEADER_INTS

Tokens = NDArray[np.uint16]


def write_shard(path: Path, tokens: ArrayLike) -> None:
    """Write tokens as one shard.

    Args:
        path: the file to create or replace.
        tokens: integers in [0, 65535], shape [n].

    Raises:
        UsageError: the tokens are not one row of integers, do not fit into uint16, or are too many for the header.
    """
    values = np.asarray(tokens)
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
        raise UsageError(f"{path}: a shard holds one row of integer tokens, got {values.dtype} {list(values.shape)}")
    if values.size >= 2**31:
        raise UsageError(f"{path}: {values.size:,} tokens are too many for one shard; split them")
    if values.size and (int(values.min()) < 0 or int(values.max()) > 0xFFFF):
        raise UsageError(f"{path}: tokens {values.min()}..{values.max()} do not fit into uint16")
    header = np.zeros(HEADER_INTS, dtype="<i4")
    header[:3] = (MAGIC, VERSION, values.size)
    with path.open("wb") as file:
        file.write(header.tobytes())
        file.write(np.ascontiguousarray(values, dtype="<u2").tobytes())


def read_shard(path: Path) -> Tokens:
    """The tokens of one shard, memory-mapped read-only.

    Returns:
        uint16, shape [n].

    Raises:
        UsageError: the file is missing, is no shard, or its size is not the one its header promises.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read the token shard {path}: {error.strerror}") from None
    if len(head) < HEADER_BYTES:
        raise UsageError(f"{path} is not a token shard: {size:,} bytes found, the header alone has {HEADER_BYTES:,}")
    magic, version, count = (int(value) for value in np.frombuffer(head, dtype="<i4")[:3])
    if magic != MAGIC:
        raise UsageError(f"{path} is not a token shard: magic number {magic} found, {MAGIC} expected")
    if version != VERSION:
        raise UsageError(f"{path} has shard version {version}, only {VERSION} is known")
    expected = HEADER_BYTES + 2 * count
    if count < 0 or size != expected:
        what = "is truncated" if 0 <= count and size < expected else "has a size that its header does not explain"
        raise UsageError(f"{path} {what}: {size:,} bytes found, {expected:,} expected for {count:,} tokens")
    if count == 0:
        return np.zeros(0, dtype=np.uint16)
    return np.memmap(path, dtype="<u2", mode="r", offset=HEADER_BYTES, shape=(count,))


def split_documents(stream: Tokens, bos_id: int) -> list[Tokens]:
    """The documents of a token stream, each without its BOS.

    Tokens before the first BOS (a shard may start inside a document) count as a document of their own.

    Args:
        stream: uint16, shape [n].
        bos_id: the token that starts a document.

    Returns:
        One uint16 array a document, in stream order; views, not copies.
    """
    starts = np.flatnonzero(stream == bos_id)
    lead = [stream[: starts[0]]] if starts.size and starts[0] > 0 else []
    if not starts.size:
        return [stream] if stream.size else []
    ends = np.append(starts[1:], stream.size)
    return lead + [stream[start + 1 : end] for start, end in zip(starts, ends, strict=True)]

"""Facts about token streams: one pass over the training shards, and two yardsticks for the validation text."""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.corpus.shards import Tokens, read_shard
from harness.errors import UsageError

_CHUNK = 1 << 24  # tokens; bounds memory for shards of 100 million tokens

#: Longer validation text is not compressed: xz would take minutes for a yardstick.
XZ_LIMIT_BYTES = 64_000_000


@dataclass(frozen=True)
class TokenCount:
    """What a pass over shards found.

    Attributes:
        sha256: of all tokens as uint16 little-endian, across shard borders.
        counts: int64 [V], occurrences by token.
        tokens: their sum.
    """

    sha256: str
    counts: NDArray[np.int64]
    tokens: int


def stream_sha256(stream: Tokens) -> str:
    """sha256 of the tokens as uint16 little-endian."""
    return hashlib.sha256(np.ascontiguousarray(stream, dtype="<u2").data).hexdigest()


def count_tokens(shards: Sequence[Path], vocab_size: int) -> TokenCount:
    """Hash and count the tokens of some shards.

    Raises:
        UsageError: a shard is broken or holds a token that the tokenizer does not have.
    """
    digest = hashlib.sha256()
    counts = np.zeros(vocab_size, dtype=np.int64)
    for path in shards:
        tokens = read_shard(path)
        for start in range(0, tokens.size, _CHUNK):
            chunk = np.ascontiguousarray(tokens[start : start + _CHUNK], dtype="<u2")
            digest.update(chunk.data)
            found = np.bincount(chunk, minlength=vocab_size)
            if found.size > vocab_size:
                raise mismatch(path, found.size - 1, vocab_size)
            counts += found
    return TokenCount(digest.hexdigest(), counts, int(counts.sum()))


def mismatch(path: Path, token: int, vocab_size: int) -> UsageError:
    """The error for a token beyond the tokenizer's vocabulary."""
    return UsageError(
        f"tokenizer/vocabulary mismatch: {path} holds token {token}, the tokenizer has {vocab_size:,} pieces"
    )


def unigram_bpb(counts: NDArray[np.int64], stream: Tokens, size: int) -> float:
    """Bits per byte of a unigram model on the targets x_1..x_N of a stream x_0..x_N.

    The model is the training counts plus one each (Laplace); every target is coded, BOS included, as in the
    contest's own score.

    Args:
        counts: int64 [V], occurrences in the training tokens.
        stream: uint16 [N+1].
        size: bytes of the text that the targets stand for.
    """
    bits = -np.log2((counts + 1.0) / (counts.sum() + counts.size))
    targets = np.bincount(stream[1:], minlength=counts.size)
    return float((bits * targets).sum() / size)


def xz_bpb(text: bytes) -> float | None:
    """Bits per byte of `xz -9` on the text, container included; None for text beyond XZ_LIMIT_BYTES."""
    if not text or len(text) > XZ_LIMIT_BYTES:
        return None
    return 8 * len(lzma.compress(text, preset=9)) / len(text)

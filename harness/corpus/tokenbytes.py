"""How many bytes of text a token stands for: the denominator of bits per byte.

The table is the contest's (train_gpt.py, build_sentencepiece_luts): a token counts the UTF-8 bytes of its piece; the
space that a piece starts with is counted apart, and only if something precedes it in the document. Where the contest's
table would miscount a tokenizer, `ByteTable.warnings` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.corpus.shards import Tokens
from harness.corpus.tokenizer import Tokenizer
from harness.errors import UsageError

#: SentencePiece's visible stand-in for a space, U+2581.
SPACE = "\u2581"


@dataclass(frozen=True)
class ByteTable:
    """Bytes by token id.

    Attributes:
        base: int16 [V], bytes of the piece without a leading space; 0 for control, unknown and unused tokens.
        leading_space: bool [V], the piece starts with a space.
        boundary: bool [V], control, unknown or unused: a space right after such a token is not text.
        warnings: ways in which this tokenizer's bytes are not what they seem, one sentence each.
    """

    base: NDArray[np.int16]
    leading_space: NDArray[np.bool_]
    boundary: NDArray[np.bool_]
    warnings: tuple[str, ...] = ()

    def count(self, targets: NDArray[np.integer], previous: NDArray[np.integer]) -> NDArray[np.int64]:
        """Bytes of each target, given the token before it.

        Args:
            targets: token ids, any shape.
            previous: the token before each target, same shape.

        Returns:
            int64, same shape.

        Raises:
            UsageError: an id is outside the vocabulary.
        """
        for ids in (targets, previous):
            if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < self.base.size:
                found = f"tokens {ids.min()}..{ids.max()} found, the tokenizer has {self.base.size:,} pieces"
                raise UsageError(f"tokenizer/vocabulary mismatch: {found}")
        space = self.leading_space[targets] & ~self.boundary[previous]
        result: NDArray[np.int64] = self.base[targets].astype(np.int64) + space
        return result

    def stream_bytes(self, stream: Tokens) -> NDArray[np.int64]:
        """Bytes of the targets x_1..x_N of a stream x_0..x_N: int64, shape [N]."""
        return self.count(stream[1:], stream[:-1])


def byte_table(tokenizer: Tokenizer) -> ByteTable:
    """Build the byte table of a tokenizer.

    Differs from the contest's table in one point, with a warning: spaces inside a piece count one byte each, where
    the contest's counts the three bytes of their stand-in. Its own models have no such piece.
    """
    processor = tokenizer.processor
    size = tokenizer.vocab_size
    base = np.zeros(size, dtype=np.int16)
    leading = np.zeros(size, dtype=np.bool_)
    boundary = np.ones(size, dtype=np.bool_)
    inner: list[str] = []
    private: list[str] = []
    byte_pieces = 0
    for token in range(size):
        if processor.is_control(token) or processor.is_unknown(token) or processor.is_unused(token):
            continue
        boundary[token] = False
        if processor.is_byte(token):
            base[token] = 1
            byte_pieces += 1
            continue
        piece = str(processor.id_to_piece(token))
        leading[token] = piece.startswith(SPACE)
        body = piece.removeprefix(SPACE)
        if SPACE in body:
            inner.append(piece)
        if any("\ue000" <= character <= "\uf8ff" for character in body):
            private.append(piece)
        base[token] = len(body.replace(SPACE, " ").encode("utf-8"))
    return ByteTable(base, leading, boundary, _warnings(processor, byte_pieces, inner, private))


def _warnings(processor: Any, byte_pieces: int, inner: list[str], private: list[str]) -> tuple[str, ...]:
    lone = processor.piece_to_id(SPACE)
    found: list[str] = []
    if processor.is_unknown(lone):
        cost = "three byte tokens, counted 3 bytes instead of 1" if byte_pieces else "an unknown token, counted 0 bytes"
        found.append(f"no piece for a lone space (U+2581): it becomes {cost} (issue #897)")
    if 0 < byte_pieces < 256:
        found.append(f"only {byte_pieces} of 256 byte pieces: some characters cannot be encoded")
    if not byte_pieces:
        found.append("no byte fallback: characters outside the vocabulary become unknown tokens of 0 bytes")
    if inner:
        found.append(
            f"{len(inner)} pieces hold a space after their first character (such as {inner[0]!r}): counted 1 byte each"
            " here, 3 by the contest's table"
        )
    if private:
        found.append(
            f"{len(private)} pieces hold private-use characters (such as {private[0]!r}): if they mark letter case,"
            " their bytes are not text and the count is too high (#2071, #2138)"
        )
    return tuple(found)


def true_bytes(texts: Sequence[str]) -> NDArray[np.int64]:
    """UTF-8 bytes of each document, from the text itself: int64, shape [documents]."""
    return np.array([len(text.encode("utf-8")) for text in texts], dtype=np.int64)


def document_bytes(
    table: ByteTable, stream: Tokens, bos_id: int, sidecar: NDArray[np.integer] | None = None
) -> NDArray[np.int64]:
    """Bytes of each document of a stream, by the table or by a side-car: int64, shape [documents].

    Entry k sums the tokens from the k-th BOS up to the next one; compare it with `true_bytes` of document k.

    Args:
        table: bytes by token.
        stream: uint16 [N+1].
        bos_id: the token that starts a document.
        sidecar: [N+1], bytes of every token of the stream, instead of the table's. The first token is not scored and
            does not count.

    Raises:
        UsageError: the stream does not start with BOS, so its first document is not whole.
    """
    if not stream.size or int(stream[0]) != bos_id:
        raise UsageError(f"the stream does not start with BOS (token {bos_id}), so its documents cannot be told apart")
    targets = table.stream_bytes(stream) if sidecar is None else sidecar[1:].astype(np.int64)
    counts = np.concatenate([np.zeros(1, dtype=np.int64), targets])
    result: NDArray[np.int64] = np.add.reduceat(counts, np.flatnonzero(stream == bos_id))
    return result

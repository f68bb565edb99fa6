"""Entropy coding of tokens with committed rows.

The code is constriction's range coder. One row becomes one categorical distribution in 24-bit fixed point, by the
same arithmetic on both sides, so decoding needs rows that are the same to the last bit: the same machine, library
versions and shapes. Every token keeps at least 2^-24, so all of them can be coded; with V = 1,024 this costs at most
V * 2^-24 / ln 2 = 0.0001 bits a token. The end of the code costs up to 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from harness.errors import SubmissionError
from harness.referee.source import Tokens

Row = NDArray[np.float32]
Floats = NDArray[np.float64]

#: Named in every archive; a change to the arithmetic of this module is a change of this name.
CODER = "constriction range coder, u32 words, 24-bit categorical (fast), big-endian, 0xFF stripped"

_PAD = b"\xff"  # constriction ends a code with ones, so ones are what may be left out and put back


def log_chances(row: Row, position: int) -> Floats:
    """A row [V] of logits or log-probabilities as normalised log-probabilities, float64 [V], -inf allowed.

    Rows that claim to be log-probabilities are normalised too: a code has room for a sum of 1, whatever was claimed.

    Raises:
        SubmissionError: the row holds NaN or +inf, or nothing finite.
    """
    wide = row.astype(np.float64)
    peak = wide.max()
    if not np.isfinite(peak):
        raise SubmissionError(f"the row for position {position} holds NaN, +inf or nothing finite; it cannot be coded")
    wide -= peak
    result: Floats = wide - np.log(np.exp(wide).sum())
    return result


def encode(rows: Sequence[Row], tokens: Tokens) -> bytes:
    """Code tokens (uint16 [n]), each with its row [V] (position i + 1 has row i).

    Raises:
        SubmissionError: a row cannot be coded.
    """
    queue = constriction.stream.queue
    encoder = queue.RangeEncoder()
    models = [_model(row, index + 1) for index, row in enumerate(rows)]
    for token, model in zip(tokens, models, strict=True):
        encoder.encode(int(token), model)
    code: bytes = encoder.get_compressed().astype(">u4").tobytes()

    def decodes(shorter: bytes) -> bool:
        decoder = Decoder(shorter)
        return all(decoder.take(model) == token for model, token in zip(models, tokens, strict=True))

    while code and decodes(code[:-1]):
        code = code[:-1]
    return code


class Decoder:
    """Takes tokens out of a code, one after the other."""

    def __init__(self, code: bytes) -> None:
        words = np.frombuffer(code + _PAD * (-len(code) % 4), ">u4").astype(np.uint32)
        self._decoder = constriction.stream.queue.RangeDecoder(words)

    def next(self, row: Row, position: int) -> int:
        """The token that the row [V] for `position` decodes to; -1 if no code that was written with it goes on so.

        Raises:
            SubmissionError: the row cannot be coded with.
        """
        return self.take(_model(row, position))

    def take(self, model: Any) -> int:
        """The same for a row that is a model already."""
        try:
            return int(self._decoder.decode(model))
        except AssertionError:  # what constriction raises for input that is impossible; most wrong input is not
            return -1


def _model(row: Row, position: int) -> Any:
    chances = np.exp(log_chances(row, position))
    return constriction.stream.model.Categorical(chances, perfect=False)

"""What the frames of an evaluation must look like: the box may send anything, and one line says what was wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.errors import SubmissionError
from harness.referee.sinks import Ints
from harness.sandbox.protocol import Kind, Purpose, Rows
from harness.sandbox.wire import Frame, untext

#: Ranges of one read beyond one for each token, empty ones counted: nobody needs more, and each is kept in the trace.
SPARE_RANGES = 4096


def commit(frame: Frame, tokens: int, vocab_size: int) -> tuple[Ints, NDArray[np.float32], Rows]:
    """A commit: positions int64 [n] in 1 .. tokens-1, rows float32 [n, V] ([n, 1] for REALISED), and what they hold.

    Raises:
        SubmissionError: it is none, or its positions are outside the stream.
    """
    if len(frame.arrays) != 3:
        raise SubmissionError("a commit must carry positions, rows and their kind")
    positions, rows, code = frame.arrays
    if positions.dtype != np.int64 or positions.ndim != 1 or len(positions) == 0:
        raise SubmissionError("a commit needs at least one position, as int64")
    if not _is_code(code) or code[0] not in set(Rows):
        raise SubmissionError("a commit of an unknown kind of rows")
    kind = Rows(int(code[0]))
    columns = 1 if kind == Rows.REALISED else vocab_size
    if rows.dtype != np.float32 or rows.shape != (len(positions), columns):
        raise SubmissionError(
            f"rows of shape {list(rows.shape)} for {len(positions)} positions; expected [{len(positions)}, {columns}]"
            + (" (one column per token of the vocabulary)" if columns > 1 else " (the claimed log-probability)")
        )
    if positions.min() < 1 or positions.max() >= tokens:
        outside = positions[(positions < 1) | (positions >= tokens)][0]
        raise SubmissionError(f"position {outside} is outside the stream (1 to {tokens - 1})")
    return positions, rows, kind


def ranges(frame: Frame, tokens: int) -> tuple[Ints, Purpose]:
    """A read: int64 [k, 2] ranges within the stream, and what for.

    Raises:
        SubmissionError: it is none, or asks for what is not there or for far too much.
    """
    if len(frame.arrays) != 2:
        raise SubmissionError("a read must carry ranges and a purpose")
    asked, code = frame.arrays
    if asked.dtype != np.int64 or asked.ndim != 2 or asked.shape[1] != 2 or not _is_code(code):
        raise SubmissionError("a read must carry int64 [k, 2] ranges and one purpose")
    bad = (asked[:, 0] < 0) | (asked[:, 1] < asked[:, 0]) | (asked[:, 1] > tokens)
    if bad.any():
        start, stop = asked[bad][0]
        raise SubmissionError(f"read of tokens {start} to {stop}: the stream has {tokens}")
    if len(asked) > tokens + SPARE_RANGES:
        raise SubmissionError(f"one read of {len(asked):,} ranges: the stream has {tokens:,} tokens")
    if int((asked[:, 1] - asked[:, 0]).sum()) > 4 * tokens + (1 << 20):
        raise SubmissionError("one read asks for more tokens than four times the stream")
    try:
        return asked, Purpose(int(code[0]))
    except ValueError:
        raise SubmissionError(f"a read with unknown purpose {int(code[0])}") from None


def numbers(frame: Frame, shape: tuple[int, ...]) -> Ints:
    """A frame's numbers, int64 of this shape, none of them negative.

    Raises:
        SubmissionError: they are others.
    """
    if not frame.arrays or frame.arrays[0].shape != shape or frame.arrays[0].dtype != np.int64:
        raise SubmissionError("the evaluation sent a malformed frame")
    if frame.arrays[0].min() < 0:
        what = "digest" if frame.kind == Kind.STATE else "number of updates"
        raise SubmissionError(f"the evaluation reported a negative {what}")
    return frame.arrays[0]


def words(frame: Frame) -> str:
    """A frame's text, at most 500 characters, without terminal escapes.

    Raises:
        SubmissionError: it has none.
    """
    if not frame.arrays or frame.arrays[0].dtype != np.uint8:
        raise SubmissionError("the evaluation sent a malformed frame")
    return "".join(c if c.isprintable() else " " for c in untext(frame.arrays[0], 500))


def _is_code(array: NDArray[np.generic]) -> bool:
    return array.dtype == np.uint8 and array.shape == (1,)

"""An entropy coder for quantized matrices: no model is sent, both sides learn the same one while they go.

The coder is constriction's range coder; what is ours is the model. A row of a grid is coded as it is or, where an
earlier row resembles it (rows of rare tokens do), as the difference to that row modulo 2L + 1. Rows are put into
classes by their root mean square, in steps of a factor sqrt(2). All values of a class share one table of counts, which
starts as a Gaussian of the class's width with the weight of 2,048 observations and is updated after blocks of values
that grow with what was seen. So there is no table to send, and the price of learning is about a hundred bytes a matrix.

    code = u8 L, then range coder words (big-endian u32) of: every row's class, with whether it is a difference;
           the earlier rows' numbers; class by class, the values of its rows in order

Counts are integers and the Gaussians are made of products and square roots, which IEEE 754 rounds alike everywhere, so
a code is decoded exactly on any machine.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.int8]
Values = NDArray[np.int32]
Counts = NDArray[np.int64]
#: Codes or decodes: takes the values (None when decoding), how many, and the model; returns the values.
Coder = Callable[[Values | None, int, Any], Values]

#: sigma^2 = 2^(class - _ORIGIN) for classes from 1; class 0 holds rows of zeros.
_ORIGIN, _CLASSES = 10, 26
#: Counts are in units of 2^-16 observations.
_UNIT = 1 << 16
#: Weight of the Gaussian that a table starts with, in observations.
_PRIOR = 2048
_FIRST_BLOCK, _LAST_BLOCK = 256, 1 << 16
#: exp(-1/2), the Gaussian of sigma 1 at distance 1.
_ROOT = 0.6065306597126334
_MAX_LIMIT = 127


def encode_grid(grid: Grid) -> bytes | None:
    """Code a matrix.

    Args:
        grid: int8 [R, C], of any values but -128.

    Returns:
        the code, or None where this coder does not apply (nothing to code, or a -128).
    """
    if grid.ndim != 2 or grid.size == 0 or int(grid.min()) < -_MAX_LIMIT:
        return None
    values = grid.astype(np.int32)
    limit = int(np.abs(values).max())
    if limit == 0:
        return bytes([0])
    references = _references(values)
    rows = values.copy()
    like = references >= 0
    rows[like] = (values[like] - values[references[like]] + limit) % (2 * limit + 1) - limit
    encoder = constriction.stream.queue.RangeEncoder()

    def put(symbols: Values | None, count: int, model: Any) -> Values:
        assert symbols is not None
        encoder.encode(symbols, model)
        return symbols

    classes = _classes(rows)
    _adaptive(put, (classes + _CLASSES * like).astype(np.int32), len(rows), _flat(2 * _CLASSES), 16)
    for row in np.flatnonzero(like):
        if row > 1:
            encoder.encode(int(references[row]), constriction.stream.model.Uniform(int(row)))
    for number in np.unique(classes[classes > 0]):
        chosen = rows[classes == number].ravel() + limit
        _adaptive(put, chosen, len(chosen), _gaussian(int(number), limit), _FIRST_BLOCK)
    words: bytes = encoder.get_compressed().astype(">u4").tobytes()
    return bytes([limit]) + words


def decode_grid(code: bytes, rows: int, columns: int) -> Grid:
    """The matrix that `encode_grid` coded: int8 [rows, columns].

    Raises:
        ValueError: the code cannot be one of such a matrix.
    """
    if rows < 1 or columns < 1 or len(code) % 4 != 1 or code[0] > _MAX_LIMIT or (code[0] == 0) != (len(code) == 1):
        raise ValueError("not a code of a matrix")
    limit = code[0]
    out = np.zeros((rows, columns), np.int16)
    if limit == 0:
        return out.astype(np.int8)
    decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(code, ">u4", offset=1).astype(np.uint32))

    def take(_: Values | None, count: int, model: Any) -> Values:
        return np.asarray(decoder.decode(model, count), np.int32)

    try:
        symbols = _adaptive(take, None, rows, _flat(2 * _CLASSES), 16)
        classes, references = symbols % _CLASSES, np.where(symbols >= _CLASSES, 0, -1)
        for row in np.flatnonzero(references >= 0):
            if row > 1:
                references[row] = decoder.decode(constriction.stream.model.Uniform(int(row)))
        for number in np.unique(classes[classes > 0]):
            chosen = classes == number
            count = int(chosen.sum()) * columns
            found = _adaptive(take, None, count, _gaussian(int(number), limit), _FIRST_BLOCK)
            out[chosen] = found.reshape(-1, columns) - limit
    except AssertionError:  # what constriction raises for input that no encoder makes; most wrong input is not noticed
        raise ValueError("a damaged code of a matrix") from None
    if references[0] >= 0 or not decoder.maybe_exhausted():
        raise ValueError("a damaged code of a matrix")
    for row in np.flatnonzero(references >= 0):
        out[row] = (out[row] + out[references[row]] + limit) % (2 * limit + 1) - limit
    return out.astype(np.int8)


def _adaptive(coder: Coder, symbols: Values | None, count: int, counts: Counts, block: int) -> Values:
    """Code or decode `count` symbols with counts that are updated after each block; blocks grow to half of what was."""
    done: list[Values] = []
    at = 0
    while at < count:
        size = min(block, count - at)
        model = constriction.stream.model.Categorical(counts.astype(np.float64), perfect=False)
        part = coder(None if symbols is None else np.ascontiguousarray(symbols[at : at + size]), size, model)
        counts = counts + _UNIT * np.bincount(part, minlength=len(counts))
        done.append(part)
        at += size
        block = min(max(block, at // 2), _LAST_BLOCK)
    return np.concatenate(done) if done else np.zeros(0, np.int32)


def _flat(size: int) -> Counts:
    """A table that knows nothing, with the weight of one observation for five symbols."""
    return np.full(size, _UNIT // 5, np.int64)


@functools.cache
def _gaussian(number: int, limit: int) -> Counts:
    """The table that a class starts with: int64 [2 * limit + 1], about `_PRIOR` observations, none of them 0."""
    ratio = _ROOT
    for _ in range(abs(number - _ORIGIN)):
        ratio = math.sqrt(ratio) if number > _ORIGIN else ratio * ratio
    heights = [1.0]
    step = ratio
    for _ in range(limit):  # exp(-(k+1)^2 / 2s^2) = exp(-k^2 / 2s^2) * r^(2k+1)
        heights.append(heights[-1] * step)
        step *= ratio * ratio
    whole = [int(height * (1 << 20)) for height in heights]
    total = 2 * sum(whole[1:]) + whole[0]
    side = [value * _PRIOR * _UNIT // total + _UNIT // 16 for value in whole]
    return np.array(side[:0:-1] + side, np.int64)


def _classes(rows: Values) -> NDArray[np.int64]:
    """int64 [R]: 0 for rows of zeros, else by the mean square, which is between 2^-10 and 2^14."""
    square = (rows.astype(np.int64) ** 2).sum(axis=1)
    mean = np.maximum(square, 1) / rows.shape[1]
    number = np.clip(np.round(np.log2(mean)) + _ORIGIN, 1, _CLASSES - 1).astype(np.int64)
    return np.where(square == 0, 0, number)


def _references(values: Values) -> NDArray[np.int64]:
    """For each row the earlier one whose difference is so much smaller that it pays, or -1: int64 [R].

    Products of integers in float64 are exact, so the choice is the same everywhere.
    """
    exact = values.astype(np.float64)
    squares = (exact**2).sum(axis=1)
    rows, columns = exact.shape
    found = np.full(rows, -1, np.int64)
    for start in range(0, rows, 512):
        part = slice(start, min(start + 512, rows))
        distance = squares[part, None] + squares[None, : part.stop] - 2 * exact[part] @ exact[: part.stop].T
        distance[np.arange(part.stop) >= np.arange(start, part.stop)[:, None]] = np.inf
        nearest = distance.argmin(axis=1)
        least = np.maximum(distance[np.arange(len(nearest)), nearest], columns / 16)
        with np.errstate(divide="ignore", over="ignore"):
            saved = columns / 2 * np.log2(np.maximum(squares[part], 1e-9) / least)
        found[part] = np.where(saved > math.log2(rows + 1) + 8, nearest, -1)
    return found

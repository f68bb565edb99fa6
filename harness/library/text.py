"""The streams that are played where nobody brings text, and the places where they are replaced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.library.subject import stream
from harness.referee import plan
from harness.referee.source import Probe
from harness.referee.trace import Trace

Ints = NDArray[np.int64]

#: Share of the places at which a stretch that stood before is said again: caches and induction act on what recurs.
_RECURS = 0.04


def drawn(length: int, vocab_size: int, rng: np.random.Generator, bos: int = -1) -> Ints:
    """A stream int64 [length]: frequent and rare tokens as in text, half of it in stretches that recur.

    Args:
        length: tokens.
        vocab_size: ids are below it.
        rng: what draws.
        bos: starts the stream, and a document about every 200 tokens; -1: there are none.
    """
    ranks = rng.permutation(vocab_size)
    weights = 1 / (np.arange(vocab_size) + 2.7)
    tokens: Ints = ranks[rng.choice(vocab_size, size=length, p=weights / weights.sum())].astype(np.int64)
    at = 8
    while at < length - 2:
        if rng.random() < _RECURS:
            size = min(int(rng.integers(4, 24)), length - at)
            begin = int(rng.integers(0, max(1, at - size)))
            tokens[at : at + size] = tokens[begin : begin + size]
            at += size
        at += 1
    if bos >= 0:
        tokens[tokens == bos] = (bos + 1) % vocab_size
        starts = np.flatnonzero(rng.random(length) < 1 / 200)
        tokens[np.append(0, starts)] = bos
    if len(np.unique(tokens)) < 2:
        tokens[length // 2 :] = (tokens[0] + 1) % vocab_size
    return tokens


def given(tokens: Sequence[int] | NDArray[np.integer], length: int, vocab_size: int) -> Ints:
    """The first `length` tokens of somebody's text.

    Raises:
        UsageError: they are too few, all the same, or not below `vocab_size`.
    """
    array = np.asarray(tokens).reshape(-1)
    if array.dtype.kind not in "iu" or len(array) < length:
        raise UsageError(f"tokens: {len(array):,} of {array.dtype}, and {length:,} integers are wanted")
    made: Ints = array[:length].astype(np.int64)
    if made.min() < 0 or made.max() >= vocab_size:
        raise UsageError(f"tokens: ids from {made.min()} to {made.max()}, and vocab_size is {vocab_size:,}")
    if len(np.unique(made)) < 2:
        raise UsageError("tokens: all the same, so that nothing can be replaced by something else")
    return made


def places(length: int, rng: np.random.Generator, count: int, wanted: Iterable[int] = ()) -> list[int]:
    """Positions from 1 to length - 1 from which on a stream is replaced, at most `count` beside those that are wanted.

    Leaks hide at edges: the middle (a multiple of most sizes of blocks), inside blocks (odd ones in each half), the
    last token alone, all but the first, and neighbours of powers of two.
    """
    half = length // 2
    odd = [int(rng.integers(low, max(low + 1, high))) | 1 for low, high in ((2, half), (half + 1, length - 1))]
    powers = [edge + step for step in (1, -1, 0) for edge in (1 << int(rng.integers(2, 11)),)]
    chosen: list[int] = []
    for place in [*wanted, half, *odd, length - 1, 1, *powers, *rng.integers(1, length, size=count)]:
        if 1 <= place < length and int(place) not in chosen:
            chosen.append(int(place))
    return chosen[: count + len([place for place in set(wanted) if 1 <= place < length])]


def suffix(tokens: Ints, position: int, rng: np.random.Generator, *, sampled: bool = False) -> Probe | None:
    """Other text from a position on: the stream itself, shifted. None where it has no other token."""
    shift = plan.rotation(stream(tokens), position, rng)
    return Probe("suffix", position, shift=shift, sampled=sampled, split=False) if shift else None


def edges(length: int, steps: Sequence[int], documents: Ints) -> list[int]:
    """Positions at a multiple of each step (window, stride, block), just before and after, and at document starts."""
    found: list[int] = []
    for step in steps:
        if 1 < step < length:
            at = step * max(1, (length // 2) // step)
            found += [place for place in (at, at + 1, at - 1) if 0 < place < length]
    inner = documents[(documents > 1) & (documents < length - 1)]
    if len(inner):
        middle = int(inner[len(inner) // 2])
        found += [middle, middle + 1]
    return list(dict.fromkeys(found))


def scored(length: int) -> Trace:
    """A trace in which every position is scored from left to right: what `plan` looks at to choose positions."""
    trace = Trace(length)
    trace.order[1:] = np.arange(length - 1)
    return trace

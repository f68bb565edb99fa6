"""What is audited, whoever brought it: token streams go in, traces come out.

A stream is int64 [T]. The row for position p predicts token p and may depend on tokens before it: it is logits[p - 1]
of a model. Every row becomes numbers by the same code as in a boxed run (`harness.referee.rows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.referee.rows import PROJECTIONS, Scored, projector, score_rows
from harness.referee.source import Tokens
from harness.referee.trace import Trace
from harness.sandbox.protocol import Rows

Ints = NDArray[np.int64]


class Spent(UsageError):
    """No forward passes are left of those that were allowed."""


@dataclass(frozen=True)
class Base:
    """A stream that was played unchanged.

    Attributes:
        tokens: int64 [T].
        trace: its rows.
        rows: of a model [n, V], what the trace was made of; rows that come again bit for bit are not scored again.
    """

    tokens: Ints
    trace: Trace
    rows: torch.Tensor | None = None


class Subject(Protocol):
    """Plays streams.

    Attributes:
        vocab_size: ids that may be drawn.
        batch: streams that one call plays side by side.
        calls: calls made so far.
    """

    vocab_size: int
    batch: int
    calls: int

    @property
    def left(self) -> float:
        """Calls of one stream that may still be made."""

    def play(
        self,
        streams: Sequence[Ints],
        targets: Ints,
        like: Base | None = None,
        upto: Sequence[int] = (),
        only: int | None = None,
    ) -> list[Base]:
        """Play streams of one length side by side, once.

        Args:
            streams: as many as `batch`, or fewer.
            targets: int64 [T], the tokens that rows are charged for.
            like: rows that are the same as its rows, bit for bit, have the same numbers.
            upto: for the first streams, the last position whose row is wanted; for the others all are.
            only: the one position whose row is wanted.

        Raises:
            Spent: no call is left.
            SubmissionError: rows are no numbers.
        """

    def exact(self) -> Subject | None:
        """The same with all arithmetic in float64; None where that cannot be had."""

    @property
    def bits(self) -> int:
        """Bits of the significand that rows came with so far; 24 for float32."""


def stream(tokens: Ints) -> Tokens:
    """The same tokens under the referee's name for streams: it holds 16 bits as a rule, and looks at none of them."""
    return cast(Tokens, tokens)


def trace_of_rows(
    rows: torch.Tensor,
    targets: Ints,
    projection: NDArray[np.float64],
    like: Base | None = None,
    kind: Rows = Rows.LOGITS,
    only: int | None = None,
) -> Trace:
    """A trace of rows [n, V] for positions 1 .. n of a stream with these targets (int64 [T], T > n); or of one."""
    if only is not None:
        trace = Trace(len(targets))
        row = rows[only - 1 : only]
        numbers = (row if row.dtype == torch.float64 else row.float()).cpu().numpy()
        at = np.array([only])
        trace.commit(at, score_rows(numbers, targets[at], kind, projection, at, lied=True), kind)
        return trace
    count = len(rows)
    nll, excess, prints = np.empty(count), np.empty(count), np.empty((count, PROJECTIONS))
    fresh = np.ones(count, bool)
    if like is not None and like.rows is not None and len(like.rows) >= count:
        # Rows that are the same to the last bit have the same numbers: of a causal model nearly all.
        fresh = (rows != like.rows[:count]).any(dim=1).cpu().numpy()
        same = np.flatnonzero(~fresh)
        nll[same], excess[same], prints[same] = (
            values[same + 1] for values in (like.trace.nll, like.trace.excess, like.trace.prints)
        )
    new = np.flatnonzero(fresh)
    if len(new):
        wide = rows[torch.as_tensor(new, device=rows.device)]
        numbers = (wide if wide.dtype == torch.float64 else wide.float()).cpu().numpy()
        made = score_rows(numbers, targets[new + 1], kind, projection, new + 1, lied=True)
        nll[new], excess[new], prints[new] = made.nll, made.excess, made.prints
    trace = Trace(len(targets))
    if count:
        trace.commit(np.arange(1, count + 1), Scored(nll, excess, prints), kind)
    trace.finished = True
    return trace


def as_tensor(value: Any) -> torch.Tensor:
    """What somebody's function returned, as a tensor without a graph.

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, torch.Tensor):
        return value.detach()
    try:
        return torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError):
        raise UsageError(f"expected a tensor or an array of numbers, got {type(value).__name__}") from None


def significand(rows: torch.Tensor) -> int:
    """Bits that these rows use: 8 where every number is one of bfloat16, 11 for float16, 24, or 53."""
    known = {torch.bfloat16: 8, torch.float16: 11, torch.float64: 53}
    if rows.dtype in known:
        return known[rows.dtype]
    some = rows[:: max(1, len(rows) // 16)]
    for dtype, bits in ((torch.bfloat16, 8), (torch.float16, 11)):
        if torch.equal(some.to(dtype).to(some.dtype), some):
            return bits
    return 24


def projection_for(vocab_size: int, seed: int) -> NDArray[np.float64]:
    """What rows are fingerprinted with, float64 [V, PROJECTIONS]."""
    return projector(vocab_size, seed)

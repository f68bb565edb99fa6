"""What one evaluation left behind. Checks are functions of traces; they never run a submission themselves."""

from __future__ import annotations

import bisect
import io
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.errors import SubmissionError
from harness.referee.rows import PROJECTIONS, Scored, apart
from harness.sandbox.protocol import STATE, Purpose, Rows

#: Ranges that all reads of one evaluation may have, for each token of the stream, and a million more: each is kept.
#: A hundred passes over windows with a stride of one, inputs and targets, have two hundred.
RANGES_PER_TOKEN = 256


@dataclass(frozen=True)
class Read:
    """Tokens were handed out. `ranges` is int64 [k, 2]; `scored` is how many positions were committed by then."""

    ranges: NDArray[np.int64]
    purpose: Purpose
    scored: int


@dataclass(frozen=True)
class Commit:
    """Rows were committed: `count` of them, positions from `low` to `high`; `start` is their first sequence number."""

    start: int
    count: int
    low: int
    high: int


@dataclass(frozen=True)
class Update:
    """Optimizer steps and backward passes that the box reported since the event before.

    `pending` is how many tokens had been handed out whose positions were not committed yet.
    """

    steps: int
    backwards: int
    scored: int
    pending: int


@dataclass(frozen=True)
class State:
    """Digests of the box's state from commit number `start` on, one for each of `protocol.STATE`."""

    start: int
    digests: tuple[int, ...]


Event = Read | Commit | Update


@dataclass
class Trace:
    """One evaluation of a stream of `tokens` tokens; arrays are indexed by position (index 0 is never scored).

    Attributes:
        tokens: length of the stream.
        nll: float64 [tokens], nats; NaN where no row was committed.
        excess: float64 [tokens], log of the row's probability sum.
        prints: float64 [tokens, PROJECTIONS], fingerprints of the rows; NaN where only the realised token's
            probability was claimed.
        order: int64 [tokens], sequence number of the position's first commit, -1 without one.
        events: reads, commits and updates, in order.
        times: int64 [tokens], commits to the position; the first one counts.
        since: int64 [tokens], how many other positions were committed for the first time between the position's first
            commit and its last one.
        kinds: how rows were given.
        states: digests of the state that the box reported, where one changed.
        notices: what the box's telemetry reported.
        finished: the submission said that it was done.
    """

    tokens: int
    nll: NDArray[np.float64] = field(init=False)
    excess: NDArray[np.float64] = field(init=False)
    prints: NDArray[np.float64] = field(init=False)
    order: NDArray[np.int64] = field(init=False)
    events: list[Event] = field(default_factory=list)
    times: NDArray[np.int64] = field(init=False)
    since: NDArray[np.int64] = field(init=False)
    kinds: set[Rows] = field(default_factory=set)
    states: list[State] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    finished: bool = False
    _sequence: int = 0
    _ranks: NDArray[np.int64] = field(init=False)
    _new: int = 0
    _sizes: dict[int, int] = field(default_factory=dict)
    _handed_out: NDArray[np.bool_] = field(init=False)
    _pending: int = 0
    _ranges: int = 0

    def __post_init__(self) -> None:
        self.nll = np.full(self.tokens, np.nan)
        self.excess = np.zeros(self.tokens)
        self.prints = np.zeros((self.tokens, PROJECTIONS))
        self.order = np.full(self.tokens, -1, np.int64)
        self.times, self.since, self._ranks = (np.zeros(self.tokens, np.int64) for _ in range(3))
        self._handed_out = np.zeros(self.tokens, bool)
        self._handed_out[:1] = True  # x_0 is never scored, so it is never pending

    @property
    def committed(self) -> int:
        """Commits so far, repeated ones included."""
        return self._sequence

    @property
    def repeated(self) -> int:
        """Commits to positions that had a row already."""
        return int(np.maximum(self.times - 1, 0).sum())

    @property
    def scored(self) -> NDArray[np.int64]:
        """Positions with a row, in stream order."""
        return np.flatnonzero(self.order >= 0)

    @property
    def claimed(self) -> NDArray[np.int64]:
        """Positions for which only the realised token's probability was given, in stream order."""
        return np.flatnonzero((self.order >= 0) & np.isnan(self.prints[:, 0]))

    @property
    def in_order(self) -> bool:
        """Positions were first committed from left to right."""
        sequence = self.order[self.order >= 0]
        return bool((np.diff(sequence) > 0).all())

    def later(self, position: int) -> NDArray[np.bool_]:
        """What was not scored before a position's row was, bool [tokens]: a suffix replaces no more than that."""
        result: NDArray[np.bool_] = (self.order < 0) | (self.order >= self.order[position])
        return result

    def first(self, tokens: int) -> Trace:
        """The rows of the first so many tokens alone, to hold a shorter stream's against; without the ledger."""
        part = Trace(tokens)
        for name in ("nll", "excess", "prints", "order"):
            setattr(part, name, getattr(self, name)[:tokens].copy())
        part.kinds = set(self.kinds)
        return part

    def read(self, ranges: NDArray[np.int64], purpose: Purpose) -> None:
        """Note that tokens were handed out.

        Raises:
            SubmissionError: there were so many reads that they can only be meant to fill the memory.
        """
        self._ranges += len(ranges) + 1
        if self._ranges > RANGES_PER_TOKEN * self.tokens + (1 << 20):
            raise SubmissionError(f"the evaluation read {self._ranges:,} ranges of a stream of {self.tokens:,} tokens")
        for start, stop in ranges:
            new = ~self._handed_out[start:stop]
            self._pending += int((new & (self.order[start:stop] < 0)).sum())
            self._handed_out[start:stop] = True
        self.events.append(Read(ranges, purpose, self._sequence))

    def commit(self, positions: NDArray[np.int64], scored: Scored, kind: Rows) -> None:
        """Note rows, in the order given. A position that has a row keeps it; the second is counted as a repeat."""
        sequence = np.arange(self._sequence, self._sequence + len(positions))
        self.events.append(Commit(self._sequence, len(positions), int(positions.min()), int(positions.max())))
        self._sizes[self._sequence] = len(positions)
        self._sequence += len(positions)
        new = first_of(positions) & (self.order[positions] < 0)
        where = positions[new]
        rank = self._new + np.cumsum(new)
        self._new += len(where)
        np.add.at(self.times, positions, 1)
        self._ranks[where] = rank[new]
        np.maximum.at(self.since, positions[~new], rank[~new] - self._ranks[positions[~new]])
        self._pending -= int(self._handed_out[where].sum())
        self.order[where] = sequence[new]
        self.nll[where] = scored.nll[new]
        self.excess[where] = scored.excess[new]
        self.prints[where] = scored.prints[new]
        self.kinds.add(kind)

    def state(self, digests: tuple[int, ...]) -> None:
        """Note the state in which the next rows are committed."""
        self.states.append(State(self._sequence, digests))

    def state_before(self, positions: NDArray[np.int64]) -> tuple[int, ...] | None:
        """Digests of the state in which one commit gave just these positions (int64 [n]) their rows, in this order.

        None where no single commit did.
        """
        sequence = self.order[positions]
        start, count = int(sequence[0]), len(positions)
        if start < 0 or self._sizes.get(start) != count or (sequence != np.arange(start, start + count)).any():
            return None
        return self.state_at(start)

    def state_at(self, sequence: int) -> tuple[int, ...]:
        """Digests of the state in which the row with that sequence number was committed."""
        index = bisect.bisect_right(self.states, sequence, key=lambda state: state.start)
        return self.states[index - 1].digests if index else (0,) * len(STATE)

    def size_at(self, sequence: int) -> int:
        """Rows of the commit whose first row has that sequence number; 0 without one."""
        return self._sizes.get(sequence, 0)

    def update(self, steps: int, backwards: int) -> None:
        """Note that the box reported optimizer steps or backward passes."""
        self.events.append(Update(steps, backwards, self._sequence, self._pending))

    def to_bytes(self) -> bytes:
        """The per-position arrays as an uncompressed npz file (float64 NLL in nats, int64 order)."""
        buffer = io.BytesIO()
        np.savez(buffer, nll=self.nll, excess=self.excess, order=self.order)
        return buffer.getvalue()


def first_of(positions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True where a position (int64 [n]) stands for the first time: bool [n]."""
    first = np.zeros(len(positions), bool)
    first[np.unique(positions, return_index=True)[1]] = True
    return first


@dataclass(frozen=True)
class Difference:
    """How two evaluations of the same stream differ, over the positions that both scored."""

    positions: int
    changed: int
    max_nll: float
    max_print: float
    missing: int

    @property
    def largest(self) -> float:
        """The largest change of a row, in nats or units of a fingerprint."""
        return max(self.max_nll, self.max_print)


def compare(left: Trace, right: Trace) -> Difference:
    """Compare two traces position by position."""
    both = (left.order >= 0) & (right.order >= 0)
    nll = np.abs(left.nll[both] - right.nll[both])
    prints = apart(left.prints[both], right.prints[both])
    return Difference(
        positions=int(both.sum()),
        changed=int(((nll > 0) | (prints > 0)).sum()),
        max_nll=float(nll.max(initial=0.0)),
        max_print=float(prints.max(initial=0.0)),
        missing=int(((left.order >= 0) != (right.order >= 0)).sum()),
    )

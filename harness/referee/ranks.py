"""One evaluation that several ranks play, each on its own wire: one trace of it, whichever rank was faster.

Ranks run side by side, and what they do in which order depends on the machine. What may have known of what does not: it
is the order on each rank, and the collective operations, at which all ranks wait for each other (*epochs* lie between
them). The trace is one order that agrees with both, always the same: within an epoch, the rank goes on whose next rows
come first in the stream. For windows that are dealt to ranks in turn that is the order in which one rank alone would
have scored them.

So a row may know the tokens of rows that come before it in the stream, those that its rank has scored, and those that
any rank had scored before the last exchange. History that a rank asks for has to come before its next rows in that
order.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from harness.errors import SubmissionError
from harness.referee.rows import Scored
from harness.referee.session import Evaluation, not_history
from harness.referee.sinks import Ints, Sink, StateSink
from harness.sandbox.protocol import STATE, Kind, Purpose, Rows

#: Seconds for other ranks to say what broke, when one says that another one is gone.
_GRACE = 30.0
_PEER = "PeerEnded"


@dataclass
class _Group:
    """What a rank did up to and including one commit (the last group of an epoch may have none)."""

    before: list[Callable[[Sink], object]] = field(default_factory=list)
    history: list[Ints] = field(default_factory=list)
    digests: tuple[int, ...] | None = None
    positions: Ints | None = None
    commit: Callable[[Sink], object] | None = None

    @property
    def low(self) -> float:
        """First position, which decides whose turn it is."""
        return float("inf") if self.positions is None else float(self.positions.min())


class Tape:
    """A rank's sink: keeps what happened until its turn comes."""

    def __init__(self) -> None:
        self.ready: deque[_Group] = deque()
        self._open = _Group()

    def read(self, ranges: Ints, purpose: Purpose) -> None:
        """Tokens are about to be handed out."""
        if purpose == Purpose.HISTORY:
            self._open.history.append(ranges)
        self._open.before.append(lambda sink: sink.read(ranges, purpose))

    def update(self, steps: int, backwards: int) -> None:
        """Optimizer steps or backward passes."""
        self._open.before.append(lambda sink: sink.update(steps, backwards))

    def state(self, digests: tuple[int, ...]) -> None:
        """The next rows are committed in this state."""
        self._open.digests = digests

    def commit(self, positions: Ints, scored: Scored, kind: Rows) -> None:
        """Rows: the group is whole."""
        self._open.positions = positions
        self._open.commit = lambda sink: sink.commit(positions, scored, kind)
        self.cut()

    def cut(self) -> None:
        """What has no commit yet will have none in this epoch."""
        if self._open.before or self._open.commit or self._open.digests is not None:
            self.ready.append(self._open)
        self._open = _Group()


class RankEvaluation(Evaluation):
    """One rank's end: it waits at exchanges, and is believed about history until its turn comes."""

    sink: Tape
    waiting = False

    def go(self) -> None:
        """Let the rank make its exchange."""
        self.waiting = False
        self._send(Kind.GO)

    def _unscored(self, ranges: Ints) -> str | None:
        return None  # another rank may have scored it; the merged order decides

    def _met(self) -> None:
        self.waiting = True


class RankedEvaluation:
    """Serves all ranks of one evaluation and tells one sink what they did.

    Args:
        ranks: one evaluation for each, whose sinks are `Tape`s.
        sink: where events go, in the merged order.
        tokens: length of the stream.
    """

    def __init__(self, ranks: Sequence[RankEvaluation], sink: Sink, tokens: int) -> None:
        self.ranks = ranks
        self.sink = sink
        self._scored_by = np.full(tokens, -1, np.int64)
        self._scored = np.zeros(tokens, bool)
        self._scored[0] = True
        self._digests: list[tuple[int, ...]] = [(0,) * len(STATE)] * len(ranks)
        self._told = self._digests[0]
        self._committed = 0

    @property
    def finished(self) -> bool:
        """Every rank has said that it is done."""
        return all(rank.finished for rank in self.ranks)

    @property
    def notices(self) -> list[str]:
        """What the telemetry of all ranks reported."""
        return [notice for rank in self.ranks for notice in rank.notices]

    def greet(self) -> None:
        """Tell every rank how long the stream is."""
        for rank in self.ranks:
            rank.greet()

    def run(
        self,
        *,
        before_answer: Callable[[Ints], None] | None = None,
        after_commit: Callable[[], bool] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Serve the ranks until all are done; arguments are those of `Evaluation.run`.

        `before_answer` is called as reads come in, `after_commit` in the merged order.

        Raises:
            SubmissionError: a rank failed, hung, or waits for one that has ended; two scored the same position; or
                history was read that no order of what happened allows.
        """
        done, total = 0, len(self._scored) - 1
        broken: dict[int, str] = {}
        until = self.ranks[0].deadline
        while not self.finished:
            alive = self._alive(broken)
            if not alive and not broken:
                self._exchange()
                continue
            ready = _ready(self.ranks, alive, until)
            for index in ready:
                try:
                    done += self.ranks[index].step(before_answer) or 0
                except SubmissionError as error:
                    broken[index] = str(error)
                    until = min(until, time.monotonic() + _GRACE)
            if broken and not (ready and _only_peers(broken) and self._alive(broken)):
                _blame(broken)
            if not ready:
                raise SubmissionError("the evaluation did not finish within its time limit")
            if progress:
                progress(done, total)
            if self._merge(after_commit):
                return

    def _alive(self, broken: Container[int]) -> list[int]:
        """Ranks from which something is to come."""
        return [i for i, rank in enumerate(self.ranks) if not (rank.finished or rank.waiting or i in broken)]

    def _exchange(self) -> None:
        """All ranks wait: what they did up to here happened before what comes."""
        for index, rank in enumerate(self.ranks):
            if rank.finished:
                other = next(i for i, rank in enumerate(self.ranks) if rank.waiting)
                raise SubmissionError(f"rank {other} waits at a collective operation, but rank {index} has ended")
        for rank in self.ranks:
            rank.go()

    def _merge(self, after_commit: Callable[[], bool] | None) -> bool:
        """Tell the sink what is certain by now; True when `after_commit` has seen enough."""
        for rank in self.ranks:
            if rank.finished or rank.waiting:
                rank.sink.cut()
        while True:
            heads = []
            for index, rank in enumerate(self.ranks):
                if rank.sink.ready:
                    heads.append((rank.sink.ready[0].low, index))
                elif not (rank.finished or rank.waiting):
                    return False  # whose turn it is depends on what this one does next
            if not heads:
                return False
            index = self._next(sorted(heads))
            group = self.ranks[index].sink.ready.popleft()
            if self._tell(index, group) and after_commit and after_commit():
                return True

    def _next(self, heads: Sequence[tuple[float, int]]) -> int:
        """The first rank by position whose history is there."""
        why = ""
        for _, index in heads:
            asked = self.ranks[index].sink.ready[0].history
            missing = next(filter(None, map(partial(not_history, self._scored), asked)), None)
            if missing is None:
                return index
            why = why or f"NotScoredYet: {missing} (rank {index})"
        raise SubmissionError(why)

    def _tell(self, index: int, group: _Group) -> bool:
        for event in group.before:
            event(self.sink)
        if group.digests is not None:
            self._digests[index] = group.digests
        if group.commit is None or group.positions is None:
            return False
        others = self._scored_by[group.positions]
        twice = group.positions[(others >= 0) & (others != index)]
        if len(twice):
            raise SubmissionError(
                f"position {twice[0]} is scored by rank {self._scored_by[twice[0]]} and by rank {index}: "
                "deal windows to ranks with stream.windows or stream.deal"
            )
        if isinstance(self.sink, StateSink) and self._digests[index] != self._told:
            self._told = self._digests[index]
            self.sink.state(self._told)
        group.commit(self.sink)
        self._committed += len(group.positions)
        self._scored_by[group.positions] = index
        self._scored[group.positions] = True
        return True


def _ready(ranks: Sequence[Evaluation], alive: Sequence[int], until: float) -> list[int]:
    """Those of the ranks that have sent something; none of them when the time (`time.monotonic()`) is up."""
    poller = select.poll()
    by_fd = {ranks[index].wire.fileno(): index for index in alive}
    for fd in by_fd:
        poller.register(fd, select.POLLIN)
    return sorted(by_fd[fd] for fd, _ in poller.poll(max(0.0, until - time.monotonic()) * 1000))


def _only_peers(broken: dict[int, str]) -> bool:
    return all(message.startswith(_PEER) for message in broken.values())


def _blame(broken: dict[int, str]) -> None:
    """The first rank that broke of itself; others only say that one is gone."""
    index, message = min(broken.items(), key=lambda item: (item[1].startswith(_PEER), item[0]))
    raise SubmissionError(f"rank {index}: {message}")

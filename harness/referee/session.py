"""One evaluation, seen from the trusted side: answer reads, take commits, keep the trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import SubmissionError
from harness.referee import frames
from harness.referee.rows import Floats, score_rows
from harness.referee.sinks import Ints, RowSink, Sink, StateSink
from harness.referee.source import Source
from harness.referee.trace import Trace
from harness.sandbox.protocol import STATE, Kind, Purpose, Rows
from harness.sandbox.wire import Frame, Wire, WireClosed, WireError, WireTimeout, pair, text

#: Seconds that scoring waits for another read after one: a window's inputs and targets are often asked for in a row.
_NEXT_READ = 0.001


class CannotSplit(SubmissionError):
    """A process cannot be split for flips; the message says why. It still waits for its answer."""


class Finished(Protocol):
    """What `full_trace` asks an evaluation, of one rank or of several."""

    @property
    def notices(self) -> list[str]:
        """What the box's telemetry reported."""

    @property
    def finished(self) -> bool:
        """The submission said that it was done."""


class Evaluation:
    """A running evaluation at the other end of a wire.

    Args:
        wire: the evaluation's own wire.
        source: the tokens that it is given.
        targets: the tokens that its rows are charged for, uint16 [tokens]. For a perturbed source these stay the
            real ones, so that a row can be compared with the unperturbed run's.
        sink: where events go.
        projection: float64 [V, k], see `rows.projector`.
        deadline: `time.monotonic()` value after which the submission is said to hang.
        closed: explains a wire that closed early (what became of the process), in words.
        lied: the source is not what the rows are charged for, see `rows.score_rows`.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        source: Source,
        targets: NDArray[np.uint16],
        sink: Sink,
        projection: Floats,
        deadline: float,
        closed: Callable[[], str] = lambda: "its process ended",
        lied: bool = False,
    ) -> None:
        self.wire = wire
        self.source = source
        self.sink = sink
        self.scored = np.zeros(len(targets), bool)
        self.scored[0] = True
        self.notices: list[str] = []
        self.finished = False
        self._targets = targets
        self._projection = projection
        self._deadline = deadline
        self._closed = closed
        self._lied = lied
        self._owed: list[Callable[[], None]] = []  # what the sink has yet to be told, in order

    @property
    def vocab_size(self) -> int:
        """Columns of a row."""
        return len(self._projection)

    def greet(self) -> None:
        """Tell a new process how long the stream is."""
        self.wire.send(Kind.HELLO, np.array([len(self._targets), self.vocab_size], np.int64))

    def run(
        self,
        *,
        before_answer: Callable[[Ints], None] | None = None,
        after_commit: Callable[[], bool] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Serve the evaluation until it is done.

        Args:
            before_answer: called with the ranges of every read before they are answered; may fork.
            after_commit: called after every commit; returning True ends the evaluation there. Without it a commit is
                scored while the submission already works on what it reads next; its rows are here by then.
            progress: called with (positions scored, positions to score).

        Raises:
            SubmissionError: the submission failed, hung, or sent something that cannot be scored.
        """
        done = 0
        try:
            while not self.finished:
                new = self.step(before_answer, at_once=after_commit is not None)
                if new is None:
                    continue
                done += new
                if progress:
                    progress(done, len(self._targets) - 1)
                if after_commit and after_commit():
                    return
        except SubmissionError:
            self.settle()  # what came before is kept; if that cannot be scored, it is why this ended
            raise

    def settle(self) -> None:
        """Score what is not scored yet, and tell the sink; whoever looks at the sink in between calls this first.

        Raises:
            SubmissionError: a row cannot be scored.
        """
        while self._owed:
            self._owed.pop(0)()

    def step(self, before_answer: Callable[[Ints], None] | None = None, *, at_once: bool = True) -> int | None:
        """Serve one frame.

        Args:
            before_answer: as in `run`.
            at_once: whether a commit is scored before anything else; else the reads that follow are answered first.

        Returns:
            Positions that a commit scored for the first time; None for any other frame.

        Raises:
            SubmissionError: as `run`.
        """
        frame = self._next()
        if frame.kind == Kind.READ:
            self._read(frame, before_answer)
            return None
        self.settle()
        if frame.kind == Kind.COMMIT:
            new = self._commit(frame)
            if at_once:
                self.settle()
            return new
        if frame.kind == Kind.UPDATE:
            steps, backwards = frames.numbers(frame, (2,))
            self.sink.update(int(steps), int(backwards))
        elif frame.kind == Kind.STATE:
            digests = frames.numbers(frame, (len(STATE),))
            if isinstance(self.sink, StateSink):
                self.sink.state(tuple(int(digest) for digest in digests))
        elif frame.kind == Kind.NOTICE:
            if len(self.notices) < 100:
                self.notices.append(frames.words(frame))
        elif frame.kind == Kind.MEET:
            self._met()
        elif frame.kind == Kind.DONE:
            self.finished = True
        elif frame.kind == Kind.FAILED:
            raise SubmissionError(frames.words(frame))
        else:
            raise SubmissionError(f"the evaluation sent a frame of unknown kind {frame.kind}")
        return None

    @property
    def deadline(self) -> float:
        """`time.monotonic()` value after which the submission is said to hang."""
        return self._deadline

    def fork(self, count: int) -> list[Wire]:
        """Split the process, which must be waiting for an answer, into count + 1; returns the new ones' wires.

        Raises:
            CannotSplit: it says that it cannot be.
            SubmissionError: it ended, hung, or answered something else.
        """
        self.settle()
        pairs = [pair() for _ in range(count)]
        try:
            self._send(Kind.FORK, fds=[theirs.fileno() for _, theirs in pairs])
        finally:
            for _, theirs in pairs:
                theirs.close()
        frame = self._next()
        why = frames.words(frame) if frame.kind == Kind.UNSPLIT else f"it answered with a frame of kind {frame.kind}"
        if why:
            for ours, _ in pairs:
                ours.close()
            raise CannotSplit(why)
        return [ours for ours, _ in pairs]

    def clone(self, wire: Wire, source: Source, sink: Sink) -> Evaluation:
        """The trusted side of a process that was split off: same stream, same limits, other tokens and sink."""
        twin = Evaluation(
            wire,
            source=source,
            targets=self._targets,
            sink=sink,
            projection=self._projection,
            deadline=self._deadline,
            closed=self._closed,
            lied=True,
        )
        twin.scored = self.scored.copy()
        return twin

    def answer(self, ranges: Ints) -> None:
        """Hand out the tokens of the ranges, concatenated."""
        parts = [self.source.read(int(a), int(b)) for a, b in ranges]
        self._send(Kind.TOKENS, np.concatenate(parts) if parts else np.zeros(0, np.uint16))

    def _read(self, frame: Frame, before_answer: Callable[[Ints], None] | None) -> None:
        ranges, purpose = frames.ranges(frame, len(self._targets))
        missing = self._unscored(ranges) if purpose == Purpose.HISTORY else None
        if missing:
            self._send(Kind.REFUSED, text(missing))
            return
        if self._owed:
            self._owed.append(lambda: self.sink.read(ranges, purpose))
        else:
            self.sink.read(ranges, purpose)
        if before_answer:
            before_answer(ranges)
        self.answer(ranges)
        if self._owed and not self._another():
            self.settle()

    def _another(self) -> bool:
        """Whether the submission asks for something else at once."""
        with self._explained():
            return self.wire.waiting(_NEXT_READ)

    def _unscored(self, ranges: Ints) -> str | None:
        """Why the ranges are not history, in words; None if they are."""
        return not_history(self.scored, ranges)

    def _met(self) -> None:
        """An exchange between ranks: alone there is nobody to wait for."""
        self._send(Kind.GO)

    def _commit(self, frame: Frame) -> int:
        positions, rows, kind = frames.commit(frame, len(self._targets), self.vocab_size)
        self._owed.append(lambda: self._score(positions, rows, kind))
        new = int((~self.scored[positions]).sum())
        self.scored[positions] = True
        return new

    def _score(self, positions: Ints, rows: NDArray[np.float32], kind: Rows) -> None:
        if isinstance(self.sink, RowSink):
            self.sink.rows(positions, rows, kind)
            return
        targets = self._targets[positions].astype(np.int64)
        scored = score_rows(rows, targets, kind, self._projection, positions, lied=self._lied)
        self.sink.commit(positions, scored, kind)

    def _next(self) -> Frame:
        with self._explained():
            frame = self.wire.recv(timeout=max(0.0, self._deadline - time.monotonic()))
        if frame.fds:
            frame.close()  # kept open, they would use up the referee's own
            raise SubmissionError("the evaluation sent file descriptors")
        return frame

    def _send(self, kind: Kind, *arrays: NDArray[Any], fds: Sequence[int] = ()) -> None:
        """Send one frame; a peer that does not read it in time has hung."""
        with self._explained():
            self.wire.send(kind, *arrays, fds=fds, timeout=max(0.0, self._deadline - time.monotonic()))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What can go wrong on the wire, in words."""
        try:
            yield
        except WireTimeout:
            raise SubmissionError("the evaluation did not finish within its time limit") from None
        except WireClosed:
            raise SubmissionError(f"the evaluation ended early: {self._closed()}") from None
        except WireError as error:
            raise SubmissionError(f"the evaluation broke the wire's format: {error}") from None


def not_history(scored: NDArray[np.bool_], ranges: Ints) -> str | None:
    """The first position in int64 [k, 2] ranges that is not scored (bool [tokens]), in words; None without one."""
    for start, stop in ranges:
        unscored = np.flatnonzero(~scored[start:stop])
        if len(unscored):
            return f"history({start}, {stop}): position {start + int(unscored[0])} is not scored yet"
    return None


def full_trace(evaluation: Finished, trace: Trace) -> Trace:
    """Copy what only the evaluation knows into its trace, once it has run."""
    trace.notices = evaluation.notices
    trace.finished = evaluation.finished
    return trace

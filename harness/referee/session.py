"""One evaluation, seen from the trusted side: answer reads, take commits, keep the trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import SubmissionError
from harness.referee.rows import Floats, score_rows
from harness.referee.sinks import Ints, RowSink, Sink, StateSink
from harness.referee.source import Source
from harness.referee.trace import Trace
from harness.sandbox.protocol import STATE, Kind, Purpose, Rows
from harness.sandbox.wire import Frame, Wire, WireClosed, WireError, WireTimeout, pair, text, untext


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
            after_commit: called after every commit; returning True ends the evaluation there.
            progress: called with (positions scored, positions to score).

        Raises:
            SubmissionError: the submission failed, hung, or sent something that cannot be scored.
        """
        done = 0
        while not self.finished:
            new = self.step(before_answer)
            if new is None:
                continue
            done += new
            if progress:
                progress(done, len(self._targets) - 1)
            if after_commit and after_commit():
                return

    def step(self, before_answer: Callable[[Ints], None] | None = None) -> int | None:
        """Serve one frame.

        Returns:
            Positions that a commit scored for the first time; None for any other frame.

        Raises:
            SubmissionError: as `run`.
        """
        frame = self._next()
        if frame.kind == Kind.READ:
            self._read(frame, before_answer)
        elif frame.kind == Kind.COMMIT:
            return self._commit(frame)
        elif frame.kind == Kind.UPDATE:
            steps, backwards = self._numbers(frame, 0, (2,))
            self.sink.update(int(steps), int(backwards))
        elif frame.kind == Kind.STATE:
            digests = self._numbers(frame, 0, (len(STATE),))
            if isinstance(self.sink, StateSink):
                self.sink.state(tuple(int(digest) for digest in digests))
        elif frame.kind == Kind.NOTICE:
            if len(self.notices) < 100:
                self.notices.append(self._text(frame))
        elif frame.kind == Kind.MEET:
            self._met()
        elif frame.kind == Kind.DONE:
            self.finished = True
        elif frame.kind == Kind.FAILED:
            raise SubmissionError(self._text(frame))
        else:
            raise SubmissionError(f"the evaluation sent a frame of unknown kind {frame.kind}")
        return None

    @property
    def deadline(self) -> float:
        """`time.monotonic()` value after which the submission is said to hang."""
        return self._deadline

    def fork(self, count: int) -> list[Wire]:
        """Split the process, which must be waiting for an answer, into count + 1; returns the new ones' wires."""
        pairs = [pair() for _ in range(count)]
        try:
            self._send(Kind.FORK, fds=[theirs.fileno() for _, theirs in pairs])
        finally:
            for _, theirs in pairs:
                theirs.close()
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
        )
        twin.scored = self.scored.copy()
        return twin

    def answer(self, ranges: Ints) -> None:
        """Hand out the tokens of the ranges, concatenated."""
        parts = [self.source.read(int(a), int(b)) for a, b in ranges]
        self._send(Kind.TOKENS, np.concatenate(parts) if parts else np.zeros(0, np.uint16))

    def _read(self, frame: Frame, before_answer: Callable[[Ints], None] | None) -> None:
        ranges, purpose = self._ranges(frame)
        missing = self._unscored(ranges) if purpose == Purpose.HISTORY else None
        if missing:
            self._send(Kind.REFUSED, text(missing))
            return
        self.sink.read(ranges, purpose)
        if before_answer:
            before_answer(ranges)
        self.answer(ranges)

    def _unscored(self, ranges: Ints) -> str | None:
        """Why the ranges are not history, in words; None if they are."""
        return not_history(self.scored, ranges)

    def _met(self) -> None:
        """An exchange between ranks: alone there is nobody to wait for."""
        self._send(Kind.GO)

    def _commit(self, frame: Frame) -> int:
        if len(frame.arrays) != 3:
            raise SubmissionError("a commit must carry positions, rows and their kind")
        positions, rows, code = frame.arrays
        if positions.dtype != np.int64 or positions.ndim != 1 or len(positions) == 0:
            raise SubmissionError("a commit needs at least one position, as int64")
        if not _is_code(code) or code[0] not in set(Rows):
            raise SubmissionError("a commit of an unknown kind of rows")
        kind = Rows(int(code[0]))
        columns = 1 if kind == Rows.REALISED else self.vocab_size
        if rows.dtype != np.float32 or rows.shape != (len(positions), columns):
            raise SubmissionError(
                f"rows of shape {list(rows.shape)} for {len(positions)} positions; "
                f"expected [{len(positions)}, {columns}]"
                + (" (one column per token of the vocabulary)" if columns > 1 else " (the claimed log-probability)")
            )
        if positions.min() < 1 or positions.max() >= len(self._targets):
            outside = positions[(positions < 1) | (positions >= len(self._targets))][0]
            raise SubmissionError(f"position {outside} is outside the stream (1 to {len(self._targets) - 1})")
        if isinstance(self.sink, RowSink):
            self.sink.rows(positions, rows, kind)
        else:
            targets = self._targets[positions].astype(np.int64)
            self.sink.commit(positions, score_rows(rows, targets, kind, self._projection, positions), kind)
        new = int((~self.scored[positions]).sum())
        self.scored[positions] = True
        return new

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

    def _ranges(self, frame: Frame) -> tuple[Ints, Purpose]:
        if len(frame.arrays) != 2:
            raise SubmissionError("a read must carry ranges and a purpose")
        ranges, code = frame.arrays
        if ranges.dtype != np.int64 or ranges.ndim != 2 or ranges.shape[1] != 2 or not _is_code(code):
            raise SubmissionError("a read must carry int64 [k, 2] ranges and one purpose")
        bad = (ranges[:, 0] < 0) | (ranges[:, 1] < ranges[:, 0]) | (ranges[:, 1] > len(self._targets))
        if bad.any():
            start, stop = ranges[bad][0]
            raise SubmissionError(f"read of tokens {start} to {stop}: the stream has {len(self._targets)}")
        if len(ranges) + int((ranges[:, 1] - ranges[:, 0]).sum()) > 4 * len(self._targets) + (1 << 20):
            raise SubmissionError("one read asks for more tokens or ranges than four times the stream")
        try:
            return ranges, Purpose(int(code[0]))
        except ValueError:
            raise SubmissionError(f"a read with unknown purpose {int(code[0])}") from None

    def _numbers(self, frame: Frame, index: int, shape: tuple[int, ...]) -> Ints:
        if len(frame.arrays) <= index or frame.arrays[index].shape != shape or frame.arrays[index].dtype != np.int64:
            raise SubmissionError("the evaluation sent a malformed frame")
        if frame.arrays[index].min() < 0:
            what = "digest" if frame.kind == Kind.STATE else "number of updates"
            raise SubmissionError(f"the evaluation reported a negative {what}")
        return frame.arrays[index]

    def _text(self, frame: Frame) -> str:
        if not frame.arrays or frame.arrays[0].dtype != np.uint8:
            raise SubmissionError("the evaluation sent a malformed frame")
        return "".join(c if c.isprintable() else " " for c in untext(frame.arrays[0], 500))  # no terminal escapes


def not_history(scored: NDArray[np.bool_], ranges: Ints) -> str | None:
    """The first position in int64 [k, 2] ranges that is not scored (bool [tokens]), in words; None without one."""
    for start, stop in ranges:
        unscored = np.flatnonzero(~scored[start:stop])
        if len(unscored):
            return f"history({start}, {stop}): position {start + int(unscored[0])} is not scored yet"
    return None


def _is_code(array: NDArray[Any]) -> bool:
    return array.dtype == np.uint8 and array.shape == (1,)


def full_trace(evaluation: Finished, trace: Trace) -> Trace:
    """Copy what only the evaluation knows into its trace, once it has run."""
    trace.notices = evaluation.notices
    trace.finished = evaluation.finished
    return trace

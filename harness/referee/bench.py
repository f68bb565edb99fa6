"""Flips on demand: processes of one evaluation, paused along the stream, each ready to be split for another lie.

A search makes hundreds of flips, one after the other, and each depends on what the ones before it showed. Here a flip
costs the batch in which it comes due, not the stream before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import SubmissionError
from harness.referee.comparator import Comparator, ProbeResult
from harness.referee.flips import FlipRun
from harness.referee.session import Evaluation
from harness.referee.sinks import Ints
from harness.referee.source import Perturbed, Probe, Real
from harness.referee.trace import Trace, compare

#: Paused processes at once. They share their memory, but each also holds what it has written since.
MOST_PAUSED = 24


@dataclass(frozen=True)
class Paused:
    """A process that waits for the answer to its read number `read`, of `ranges`."""

    evaluation: Evaluation
    read: int
    ranges: Ints


class Bench(FlipRun):
    """The unperturbed evaluation, and the processes that it left behind on its way.

    Args:
        tokens: the real stream, uint16.
        bos: the token that starts a document; see `Perturbed`.
        most: processes to keep.
    """

    def __init__(self, tokens: NDArray[np.uint16], *, bos: int, most: int = MOST_PAUSED) -> None:
        super().__init__(Trace(len(tokens)), tokens, [], budget=0, bos=bos)
        self._most = most
        self._every = 1
        self._reads: list[Ints] = []
        self._paused: list[Paused] = []

    @property
    def base(self) -> Trace:
        """What the unperturbed evaluation left behind: the sink that it is to be started with."""
        return self._base

    @property
    def paused(self) -> int:
        """Processes that wait."""
        return len(self._paused)

    def run(self, evaluation: Evaluation, progress: Callable[[int, int], None] | None = None) -> list[ProbeResult]:
        """Drive the unperturbed evaluation to its end, and leave processes behind."""
        super().run(evaluation, progress)
        self._in_order = self._base.in_order
        return []

    def noise(self) -> float:
        """Let the first, the middle and the last paused process go on unperturbed: four times what they differ by."""
        worst = 0.0
        last = len(self._paused) - 1
        for index in sorted({0, last // 2, last}) if self._paused else ():
            again = Trace(len(self._tokens))
            self._split_off(self._paused[index], Real(self._tokens), again, lambda: True)
            difference = compare(self._base, again)
            worst = max(worst, difference.max_nll, difference.max_print)
        return 4 * worst

    def examine(self, probe: Probe) -> ProbeResult:
        """Make one flip. `ran` is False where the submission never read what it replaces."""
        result = ProbeResult(probe)
        source = self._perturbed(probe)
        due = next((number for number, ranges in enumerate(self._reads) if source.touches(ranges)), None)
        if due is None:
            return result
        paused = max((p for p in self._paused if p.read <= due), key=lambda p: p.read)
        must_hold, done = self._must_hold(probe), paused.evaluation.scored
        result.ran = True
        result.by_construction = int((must_hold & done).sum())
        sink = Comparator(self._base, result, must_hold & ~done, done)
        try:
            self._split_off(paused, source, sink, sink.enough)
        except SubmissionError as error:
            result.error = str(error)
        return result

    def close(self) -> None:
        """Let go of all paused processes; they end."""
        for paused in self._paused:
            paused.evaluation.wire.close()
        self._paused = []

    def _split_off(
        self, paused: Paused, source: Perturbed | Real, sink: Comparator | Trace, enough: Callable[[], bool]
    ) -> None:
        (wire,) = paused.evaluation.fork(1)
        with wire:
            clone = paused.evaluation.clone(wire, source, sink)
            clone.answer(paused.ranges)
            clone.run(after_commit=enough)

    def _before_answer(self, ranges: Ints) -> None:
        number = len(self._reads)
        self._reads.append(ranges)
        if number % self._every:
            return
        if len(self._paused) >= self._most:  # every second one goes, so that they stay evenly spread; the first stays
            self._every *= 2
            for paused in self._paused[1::2]:
                paused.evaluation.wire.close()
            self._paused = self._paused[::2]
            if number % self._every:
                return
        (wire,) = self._evaluation.fork(1)
        waiting = self._evaluation.clone(wire, Real(self._tokens), Trace(len(self._tokens)))
        self._paused.append(Paused(waiting, number, ranges))

"""Flip tests inside a live evaluation.

The submission's process is split at the moment when it first asks for a token that a probe replaces. Until then it
had seen nothing that differs, so every row that it had committed is independent of the probe by construction, and
the split costs nothing but the rest: usually the batch in which the token stands. Which of the two processes goes on
as the unperturbed one is decided by a coin after the split, so that neither can know what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from harness.errors import SubmissionError
from harness.referee.comparator import Comparator, ProbeResult
from harness.referee.session import Evaluation
from harness.referee.sinks import Ints
from harness.referee.source import ALTERNATIVE, DOCUMENT_END, Perturbed, Probe
from harness.referee.trace import Trace
from harness.sandbox.wire import Wire


def _probe(clone: Evaluation, sink: Comparator, result: ProbeResult, ranges: Ints) -> None:
    with clone.wire:
        try:
            clone.answer(ranges)
            clone.run(after_commit=sink.enough)
        except SubmissionError as error:
            result.error = str(error)


def _purpose(probe: Probe) -> str:
    return probe.token_class if probe.token_class in (ALTERNATIVE, DOCUMENT_END) else "flip"


class FlipRun:
    """Runs an evaluation with probes.

    Args:
        base: the trace of the unperturbed, scored run.
        tokens: the real stream, uint16.
        probes: what to try, in the order of their positions.
        budget: rows that all flips together may commit, as many as all questions about claimed rows, and as all swaps
            at documents' ends; probes left when it is spent are not made.
        stop_after: leaking probes after which the remaining ones are not made; a quarter of them at one split, so
            that they spread over the stream.
        workers: probes that run at the same time, beside the unperturbed evaluation.
        bos: the token that starts a document; see `Perturbed`.
        seed: decides the coin.
    """

    def __init__(
        self,
        base: Trace,
        tokens: NDArray[np.uint16],
        probes: Sequence[Probe],
        *,
        budget: int,
        stop_after: int = 12,
        workers: int = 2,
        bos: int = -1,
        seed: int = 0,
    ) -> None:
        self.results = [ProbeResult(probe) for probe in probes]
        self._base = base
        self._tokens = tokens
        self._budget = budget
        self._stop_after = stop_after
        self._workers = workers
        self._bos = bos
        self._batch = -1
        self._coin = np.random.default_rng([seed, 0xC014])
        self._in_order = base.in_order
        self._going: list[Future[None]] = []
        self._waiting = [(result, self._perturbed(result.probe)) for result in self.results]

    def run(self, evaluation: Evaluation, progress: Callable[[int, int], None] | None = None) -> list[ProbeResult]:
        """Drive the unperturbed evaluation to its end, splitting it wherever a probe begins to differ."""
        self._evaluation = evaluation
        with ThreadPoolExecutor(self._workers) as self._pool:
            evaluation.run(before_answer=self._before_answer, progress=progress)
            self._wait()
        return self.results

    def _before_answer(self, ranges: Ints) -> None:
        due: list[tuple[ProbeResult, Perturbed]] = []
        later: list[tuple[ProbeResult, Perturbed]] = []
        for pair in self._waiting:
            (due if pair[1].touches(ranges) else later).append(pair)
        self._waiting = later
        self._batch += 1
        for result, _ in due:
            result.batch = self._batch
        # Where all probes come due at once (a submission that reads everything first) the budget takes some of them;
        # the order is drawn, so that they are not the ones at the start.
        due = [due[int(index)] for index in self._coin.permutation(len(due))]
        while due:
            self._wait()  # what is made next depends on what was seen, never on who was faster
            due = [pair for pair in due if not self._spent(pair[0].probe)]
            if self._settled():
                due = [pair for pair in due if pair[0].probe.needed]
            self._split(due[: self._workers], ranges)
            due = due[self._workers :]

    def _wait(self) -> None:
        """Let the probes end that go on beside the unperturbed evaluation."""
        while self._going:
            self._going.pop().result()

    def _split(self, due: list[tuple[ProbeResult, Perturbed]], ranges: Ints) -> None:
        if not due:
            return
        wires = [self._evaluation.wire, *self._evaluation.fork(len(due))]
        chosen = int(self._coin.integers(len(wires)))
        self._evaluation.wire = wires.pop(chosen)
        for (result, source), wire in zip(due, wires, strict=True):
            clone, sink = self._cloned(result, source, wire)
            self._going.append(self._pool.submit(_probe, clone, sink, result, ranges))

    def _cloned(self, result: ProbeResult, source: Perturbed, wire: Wire) -> tuple[Evaluation, Comparator]:
        """The trusted side of a probe's process, as things stand at the split."""
        base, main = self._base, self._evaluation
        must_hold = self._must_hold(result.probe)
        result.ran = True
        result.by_construction = int((must_hold & main.scored).sum())
        state = main.sink.state_at(main.sink.committed) if isinstance(main.sink, Trace) else None
        sink = Comparator(base, result, must_hold & ~main.scored, main.scored, state)
        return main.clone(wire, source, sink), sink

    def _must_hold(self, probe: Probe) -> NDArray[np.bool_]:
        """Positions whose rows may not depend on what the probe replaces (in the submission's processing order)."""
        base = self._base
        must = base.order >= 0
        must[probe.position + 1 :] = False
        if not self._in_order:
            must &= base.order <= base.order[probe.position]
        return must

    def _perturbed(self, probe: Probe) -> Perturbed:
        if self._in_order or probe.kind == "swap":
            return Perturbed(self._tokens, probe)
        order = self._base.order
        replaced = (order < 0) | (order >= order[probe.position])
        return Perturbed(self._tokens, probe, replaced, bos=self._bos)

    def _spent(self, probe: Probe) -> bool:
        """Flips, questions about claimed rows and documents' ends serve different checks: none starves another."""
        alike = (result for result in self.results if _purpose(result.probe) == _purpose(probe))
        return sum(result.rows for result in alike) >= self._budget

    def _settled(self) -> bool:
        """Enough probes leak: of all, or of those that came due together."""
        everywhere = sum(result.violated > 0 for result in self.results)
        together = [result for result in self.results if result.batch == self._batch]
        here = sum(result.violated > 0 for result in together)
        return everywhere >= self._stop_after or here >= max(1, self._stop_after // 4)

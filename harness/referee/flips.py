"""Flip tests inside a live evaluation.

The submission's process is split at the moment when it first asks for a token that a probe replaces. Until then it
had seen nothing that differs, so every row that it had committed is independent of the probe by construction, and
the split costs nothing but the rest: usually the batch in which the token stands.

**Lies come before the truth.** Copies of a process have many ways to talk to each other (files, memory, signals,
timing), and nothing that is run inside them can cut them all. So a copy that is told a lie runs to its end, alone,
before any process of this evaluation is given the token that was replaced: there is nobody who could tell it. Of
several lies that come due at one read, suffixes go first, from left to right: each is told the truth only up to its
own place, so it leaves nothing behind that helps the next. A swap is told the truth of the rest of that read, so it
comes last, alone, and suffixes are made to the left of it only; what is read later is other text for it, too. Rows
are held against another evaluation, in another box, that was never split: a process that feels the split and behaves
gives other rows than that one did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.errors import SubmissionError
from harness.referee.comparator import Comparator, ProbeResult
from harness.referee.session import CannotSplit, Evaluation
from harness.referee.sinks import Ints
from harness.referee.source import ALTERNATIVE, BEFORE_END, DOCUMENT_END, Beyond, Perturbed, Probe, Source
from harness.referee.trace import Trace
from harness.sandbox.wire import Wire

_Due = tuple[ProbeResult, Perturbed]


def _probe(clone: Evaluation, sink: Comparator, result: ProbeResult, ranges: Ints) -> None:
    with clone.wire:
        try:
            clone.answer(ranges)
            clone.run(after_commit=sink.enough)
        except SubmissionError as error:
            result.error = str(error)
        sink.ended() if clone.finished else sink.close()


def _purpose(probe: Probe) -> str:
    if probe.token_class == BEFORE_END:
        return DOCUMENT_END
    return probe.token_class if probe.token_class in (ALTERNATIVE, DOCUMENT_END) else "flip"


class FlipRun:
    """Runs an evaluation with probes.

    Args:
        base: the trace of the unperturbed, scored run.
        tokens: the real stream, uint16.
        probes: what to try, in the order of their positions.
        budget: rows that all flips together may commit, as many as all questions about claimed rows, and as all swaps
            at documents' ends; probes left when it is spent are not made.
        stop_after: leaking probes after which the remaining ones are not made.
        bos: the token that starts a document; see `Perturbed`.
        seed: decides the coin: which of two processes goes on as the unperturbed one.

    Attributes:
        results: one for each probe.
        whole: why the process could not be split, in words; "" where it could.
    """

    def __init__(
        self,
        base: Trace,
        tokens: NDArray[np.uint16],
        probes: Sequence[Probe],
        *,
        budget: int,
        stop_after: int = 6,
        bos: int = -1,
        seed: int = 0,
    ) -> None:
        self.results = [ProbeResult(probe) for probe in probes]
        self.whole = ""
        self._base = base
        self._tokens = tokens
        self._budget = budget
        self._stop_after = stop_after
        self._bos = bos
        self._batch = -1
        self._frontier = 0  # tokens that some process of this evaluation has been told, the read at hand included
        self._coin = np.random.default_rng([seed, 0xC014])
        self._in_order = base.in_order
        self._waiting: list[_Due] = []
        for result in self.results:
            if result.probe.kind == "swap":
                result.removes = any(int(tokens[at]) == bos for at, _ in result.probe.swaps)
                result.documents = result.removes or any(token == bos for _, token in result.probe.swaps)
            self._waiting.append((result, self._perturbed(result.probe)))

    def run(self, evaluation: Evaluation, progress: Callable[[int, int], None] | None = None) -> list[ProbeResult]:
        """Drive the unperturbed evaluation to its end, splitting it wherever a probe begins to differ."""
        self._evaluation = evaluation
        evaluation.run(before_answer=self._before_answer, progress=progress)
        return self.results

    def _before_answer(self, ranges: Ints) -> None:
        due: list[_Due] = []
        later: list[_Due] = []
        for pair in self._waiting:
            (due if pair[1].touches(ranges) else later).append(pair)
        self._waiting = later
        self._batch += 1
        self._frontier = max(self._frontier, int(ranges[:, 1].max(initial=0)))
        for result, _ in due:
            result.batch = self._batch
        for pair in _one_after_another(due):
            if not self.whole and not self._spent(pair[0].probe) and not self._settled(pair[0].probe):
                self._split(pair, ranges)

    def _split(self, due: _Due, ranges: Ints) -> None:
        result, source = due
        told: Source = source
        if result.probe.kind == "swap":  # it is told the truth of this read, and of nothing that is read later
            told = Beyond(source, self._tokens, self._frontier, len(self._tokens) // 2, self._bos)
        try:
            wires = [self._evaluation.wire, *self._evaluation.fork(1)]
        except CannotSplit as why:
            self.whole = str(why)
            return
        self._evaluation.wire = wires.pop(int(self._coin.integers(len(wires))))
        clone, sink = self._cloned(result, told, wires[0])
        _probe(clone, sink, result, ranges)

    def _cloned(self, result: ProbeResult, source: Source, wire: Wire) -> tuple[Evaluation, Comparator]:
        """The trusted side of a probe's process, as things stand at the split."""
        base, main = self._base, self._evaluation
        must_hold = self._must_hold(result.probe)
        result.ran = True
        result.by_construction = int((must_hold & main.scored).sum())
        result.unread = not (must_hold & ~main.scored).any()
        at = result.probe.position
        if result.probe.sampled and main.scored[at]:  # its row was committed before the token was read: honest
            result.own = (float(base.nll[at]), float(base.nll[at]))
        state = main.sink.state_at(main.sink.committed) if isinstance(main.sink, Trace) else None
        frontier = self._frontier if isinstance(source, Beyond) else base.tokens
        sink = Comparator(base, result, must_hold & ~main.scored, main.scored, state, frontier=frontier)
        return main.clone(wire, source, sink), sink

    def _must_hold(self, probe: Probe) -> NDArray[np.bool_]:
        """Positions whose rows may not depend on what the probe replaces, in whatever order.

        Those that stand before it in the stream and were scored before it, and its own. Rows that stand on one side of
        it only are counted apart, see `ProbeResult.crossed`.
        """
        base = self._base
        must = base.order >= 0
        must[probe.position + 1 :] = False
        if not self._in_order:
            must &= base.order <= base.order[probe.position]
        return must

    def _perturbed(self, probe: Probe) -> Perturbed:
        if self._in_order or probe.kind == "swap":
            return Perturbed(self._tokens, probe, bos=self._bos)
        return Perturbed(self._tokens, probe, self._base.later(probe.position), bos=self._bos)

    def _spent(self, probe: Probe) -> bool:
        """Flips, questions about claimed rows and documents' ends serve different checks: none starves another."""
        alike = (result for result in self.results if _purpose(result.probe) == _purpose(probe))
        return sum(result.rows for result in alike) >= self._budget

    def _settled(self, probe: Probe) -> bool:
        """Enough probes leak."""
        leaking = sum(result.violated > 0 for result in self.results)
        return leaking >= self._stop_after and not probe.needed


def _one_after_another(due: list[_Due]) -> list[_Due]:
    """Of the probes that come due at one read, those that can be made so that no lie is made after its truth is known.

    Swaps of documents' ends are for information, and not left out.
    """
    suffixes = sorted((pair for pair in due if pair[0].probe.kind == "suffix"), key=lambda p: p[0].probe.position)
    swaps = [pair for pair in due if pair[0].probe.kind == "swap"]
    ends = [pair for pair in swaps if _purpose(pair[0].probe) == DOCUMENT_END]
    swaps = [pair for pair in swaps if pair not in ends]
    last = max((pair[0].probe.position for pair in suffixes), default=-1)
    # One that is needed goes before suffixes to its right; others make way for all of them.
    first = next((pair for pair in swaps if pair[0].probe.needed), None)
    first = first or next((pair for pair in swaps if pair[0].probe.position > last), None)
    if first is None:
        return [*suffixes, *ends]
    at = first[0].probe.position
    alone = [pair for pair in swaps if pair[0].probe.position == at]
    return [*(pair for pair in suffixes if pair[0].probe.position < at), *alone, *ends]

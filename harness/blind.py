"""Play blind flips: evaluations in boxes of their own, told lies from their start, and held against the scored run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from harness.audit.evidence import ROUNDING
from harness.errors import SubmissionError
from harness.progress import Progress
from harness.referee.blind import BlindRun, blind_probe, confirmed, follow, judged, lied
from harness.referee.comparator import ProbeResult
from harness.referee.source import Probe, Real
from harness.referee.trace import Difference, Trace
from harness.scoring import EvaluationBox, Job


class BlindFlips:
    """Blind flips, and what it takes to be sure of what they show.

    Whether they are made before or after the scored run is drawn, so that being late tells nothing.

    Args:
        job: as for the scored run.
        bos: the token that starts a document.
        out: for logs.
        probes: those of an audit; the blind ones among them are made. None: they are drawn with the job's seed.
        progress: told what happens.
        count: how many are drawn, each in a part of the stream of its own.
    """

    def __init__(
        self, job: Job, bos: int, out: Path, probes: Sequence[Probe] | None, progress: Progress, count: int = 1
    ) -> None:
        self._job = job
        self._bos = bos
        self._out = out
        self._progress = progress
        self._rng = np.random.default_rng([job.seed, 0xB11D])
        self.first = bool(self._rng.random() < 0.5)
        if probes is None:
            parts = [(part / count, (part + 1) / count) for part in range(count)]
            drawn = [blind_probe(job.tokens, bos, self._rng, low, high) for low, high in parts]
            probes = [probe for probe in drawn if probe is not None]
        self._probes = [probe for probe in probes if not probe.split]
        self._runs: list[BlindRun] = []

    def play(self) -> None:
        """Make the flips, if there are any to make."""
        for probe in self._probes:
            self._progress.phase("blind", f"an evaluation with other tokens from position {probe.position:,} on")
            run = self._played(probe, probe.position)
            self._runs.append(run)
            self._progress.done(f"{run.trace.committed:,} rows")

    def results(self, base: Trace, difference: Difference | None) -> list[ProbeResult]:
        """What they showed. Where rows moved, and identical evaluations differ, it is tried again.

        Args:
            base: the scored run.
            difference: of the scored run and another one that was told the truth.
        """
        found = [self._judged(base, probe, run) for probe, run in zip(self._probes, self._runs, strict=True)]
        exact = difference is not None and not difference.changed and not difference.missing
        results = [result.above(max(ROUNDING, 4 * noise)) for result, noise in found]
        leaking = [index for index, result in enumerate(results) if result.violated]
        if exact or not leaking:
            return results
        suspects = [found[index] for index in leaking]
        again = blind_probe(self._job.tokens, self._bos, self._rng) or self._probes[leaking[0]]
        until = max(again.position, *(self._probes[index].position for index in leaking))
        self._progress.phase("blind", "rows moved: once more, and once without a lie")
        runs: dict[str, BlindRun] = {}
        plays: list[tuple[str, Callable[[], BlindRun]]] = [
            ("lie", lambda: self._played(again, again.position)),
            ("truth", lambda: self._played(None, until)),
        ]
        for index in self._rng.permutation(len(plays)):
            name, play = plays[int(index)]
            runs[name] = play()
        sure = confirmed([*suspects, self._judged(base, again, runs["lie"])], base, runs["truth"], ROUNDING)
        self._progress.done("seen again" if all(result.violated for result in sure) else "not seen again")
        return [result for index, result in enumerate(results) if index not in leaking] + sure

    def _judged(self, base: Trace, probe: Probe, run: BlindRun) -> tuple[ProbeResult, float]:
        return judged(base, run, probe, self._job.tokens, self._bos)

    def _played(self, probe: Probe | None, until: int) -> BlindRun:
        tokens = self._job.tokens
        source = Real(tokens) if probe is None else lied(tokens, probe, self._bos)
        run = BlindRun(Trace(len(tokens)))
        try:
            with EvaluationBox(self._job, self._out / "blind.log") as box:
                evaluation = box.start_ranks(source, run.trace)
                box.run(evaluation, lambda: follow(evaluation, run, source, until))
        except SubmissionError as error:
            run.error = str(error)
        return run

"""Play blind flips: evaluations in boxes of their own, told lies from their start, and held against the scored run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from harness.audit.evidence import ROUNDING
from harness.errors import SubmissionError
from harness.progress import Progress
from harness.referee.blind import BlindRun, blind_probe, confirmed, follow, judged, lied
from harness.referee.flips import ProbeResult
from harness.referee.source import Probe, Real
from harness.referee.trace import Difference, Trace
from harness.scoring import EvaluationBox, Job


class BlindFlips:
    """One blind flip, and what it takes to be sure of what it shows.

    Whether it is made before or after the scored run is drawn, so that being late tells nothing.

    Args:
        job: as for the scored run.
        bos: the token that starts a document.
        out: for logs.
        probes: those of an audit; the blind ones among them are made. None: one is drawn with the job's seed.
        progress: told what happens.
    """

    def __init__(self, job: Job, bos: int, out: Path, probes: Sequence[Probe] | None, progress: Progress) -> None:
        self._job = job
        self._bos = bos
        self._out = out
        self._progress = progress
        self._rng = np.random.default_rng([job.seed, 0xB11D])
        self.first = bool(self._rng.random() < 0.5)
        drawn = blind_probe(job.tokens, bos, self._rng) if probes is None else None
        self._probe = drawn or next((probe for probe in probes or () if not probe.split), None)
        self._run: BlindRun | None = None

    def play(self) -> None:
        """Make the flip, unless there is none to make."""
        if self._probe is not None:
            self._progress.phase("blind", f"an evaluation with other tokens from position {self._probe.position:,} on")
            self._run = self._played(self._probe, self._probe.position)
            self._progress.done(f"{self._run.trace.committed:,} rows")

    def results(self, base: Trace, difference: Difference | None) -> list[ProbeResult]:
        """What it showed. Where rows moved, and identical evaluations differ, it is tried again.

        Args:
            base: the scored run.
            difference: of the scored run and the one whose process was split.
        """
        if self._probe is None or self._run is None:
            return []
        first, noise = self._judged(base, self._probe, self._run)
        exact = difference is not None and not difference.changed and not difference.missing
        tolerance = max(ROUNDING, 4 * noise)
        if exact or not first.above(tolerance).violated:
            return [first.above(tolerance)]
        again = blind_probe(self._job.tokens, self._bos, self._rng) or self._probe
        until = max(self._probe.position, again.position)
        self._progress.phase("blind", "rows moved: once more, and once without a lie")
        runs: dict[str, BlindRun] = {}
        plays: list[tuple[str, Callable[[], BlindRun]]] = [
            ("lie", lambda: self._played(again, again.position)),
            ("truth", lambda: self._played(None, until)),
        ]
        for index in self._rng.permutation(len(plays)):
            name, play = plays[int(index)]
            runs[name] = play()
        found = [(first, noise), self._judged(base, again, runs["lie"])]
        results = confirmed(found, base, runs["truth"], ROUNDING)
        self._progress.done("seen again" if all(result.violated for result in results) else "not seen again")
        return results

    def _judged(self, base: Trace, probe: Probe, run: BlindRun) -> tuple[ProbeResult, float]:
        return judged(base, run, probe, self._job.tokens, self._bos)

    def _played(self, probe: Probe | None, until: int) -> BlindRun:
        tokens = self._job.tokens
        source = Real(tokens) if probe is None else lied(tokens, probe, self._bos)
        run = BlindRun(Trace(len(tokens)))
        try:
            with EvaluationBox(self._job, self._out / "blind.log") as box:
                evaluation = box.start(source, run.trace)
                box.run(evaluation, lambda: follow(evaluation, run, source, until))
        except SubmissionError as error:
            run.error = str(error)
        return run

"""Play whole evaluations that are lied to from their start, and hold them against the scored one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.adapters.options import PLANS, Plan
from harness.adapters.scoring import EvaluationBox, Job
from harness.audit.orders import geometry
from harness.errors import SubmissionError
from harness.progress import Progress
from harness.referee import plan
from harness.referee.blind import FORGOTTEN, BlindRun, Lie, Seen, blind_probe, judged
from harness.referee.comparator import ROUNDING, ProbeResult
from harness.referee.null import Bigram
from harness.referee.secret import Secret
from harness.referee.source import Probe, Real
from harness.referee.trace import Read, Trace, compare

Ints = NDArray[np.int64]

#: Runs for a scorer that never forgets a swap: each tells of one position only, and split processes do the rest.
UNFORGETTING_RUNS = 2

#: The same where no process can be split, so that nothing does the rest.
WHOLE_RUNS = 6


#: Swaps are at least so many tokens apart; and where windows do not tell how far, so many parts of the stream.
FAR = 32

#: Runs that replace tokens at the same places, where single probabilities are claimed: each asks for one more of a row.
SHARED = 4

#: Where runs that were told the truth differ by more than rounding, so many of them and as many with the lie are held
#: against each other. That all of one kind differ by more than all of the other then happens by chance once in 70.
NOISY_RUNS = 4

#: A range that is read is a window up to this part of the stream. Longer ones say nothing of what rows depend on.
WINDOW = 1 / 8


class BlindFlips:
    """Evaluations with swaps all over the stream, and what it takes to be sure of what they show.

    Args:
        job: as for the scored run.
        bos: the token that starts a document.
        classes: token ids by class, see `plan.token_classes`.
        out: for logs.
        secret: where the positions and the tokens come from.
        wanted: how many positions, in how many runs at most.
        probes: those of a replay, each in a run of its own; None: they are drawn.
        alone: no process will be split, as with several ranks: all that is learnt is learnt here.
        bigram: a model of the training text, for scorers that claim single probabilities: what is swapped in is drawn
            from it.
    """

    def __init__(
        self,
        job: Job,
        bos: int,
        classes: Mapping[str, Ints],
        out: Path,
        secret: Secret,
        wanted: Plan,
        probes: Sequence[Probe] | None = None,
        *,
        alone: bool = False,
        bigram: Callable[[], Bigram],
    ) -> None:
        self._job = job
        self._bos = bos
        self._classes = classes
        self._out = out
        self._secret = secret
        self._wanted = wanted
        self._unforgetting = WHOLE_RUNS if alone else UNFORGETTING_RUNS
        self._given = None if probes is None else [probe for probe in probes if not probe.split]
        self._runs: list[tuple[Lie, BlindRun, Seen]] = []
        self._bigram = bigram
        self._asked: dict[int, list[int]] = {}
        self._places: list[Probe] = []
        self.distance = 1
        self.forgets = True

    def play(self, base: Trace, progress: Progress) -> None:
        """Play as many runs as it takes for the wanted number of positions.

        Args:
            base: a run that was told the truth. Its windows say how far apart swaps must be.
            progress: told what happens.
        """
        self.distance, far = _reach(base)
        if self._given is not None:
            for probe in self._given:
                later = None if base.in_order else base.later(probe.position)
                self._run(Lie.of([probe], self._job.tokens, self._bos, later), base, progress)
            return
        known, left = False, max(self._wanted.runs, self._unforgetting)
        made, most = 0, 2 * left
        # Of a short stream a run holds few swaps: as many runs again, for what a PASS takes at the least.
        while left > 0 or (self.forgets and made < self.least and len(self._runs) < most):
            seen = self._run(self._lie(base, len(self._runs)), base, progress)
            left -= 1
            # Swaps whose effect is gone before the next one: most of them, or this scorer does not forget.
            forgot = seen.forgot >= max(1, (len(seen.results) - 1) // 2)
            if not known and not forgot and self.distance < far:
                self.distance = far  # rows may depend on more than what is read at once
            elif not known:
                known, self.forgets = True, forgot
                if not forgot:
                    left = min(left, self._unforgetting - len(self._runs))
                elif seen.reach:  # or on much less
                    self.distance = min(self.distance, max(seen.reach + 2 * FORGOTTEN, FAR))
            made = sum(
                bool(result.still or result.probe.odds is not None and result.claimed is not None)
                for *_, seen in self._runs
                for result in seen.results
            )
            if made >= self._wanted.own_rows:
                return

    @property
    def least(self) -> int:
        """Replaced tokens whose own rows have to be compared for a PASS: as many as `quick` means, or as fit in."""
        tokens, quick = len(self._job.tokens), PLANS["quick"].own_rows
        if self.forgets:
            return min(quick, tokens // 16)
        return (
            min(quick, tokens // 128) if self._unforgetting == UNFORGETTING_RUNS else min(WHOLE_RUNS - 1, tokens // 128)
        )

    def suspects(self, most: int = 12) -> list[Probe]:
        """Swaps that have to be made again, alone."""
        found = [probe for *_, seen in self._runs for probe in seen.suspects]
        order = self._secret.rng("suspects").permutation(len(found))[:most]
        return [dataclasses.replace(found[int(i)], split=True, urgent=True) for i in sorted(order)]

    def alone(self, base: Trace, progress: Progress, most: int = 2) -> None:
        """Make some suspected swaps again, each in a whole run of its own: where split processes decide nothing.

        Those of a submission that behaves once it is split, say: they differ from the scored run, whatever they see.
        """
        for probe in self.suspects(most):
            single = dataclasses.replace(probe, split=False, urgent=False)
            self._run(Lie.of([single], self._job.tokens, self._bos), base, progress)

    def results(self, base: Trace, progress: Progress) -> list[ProbeResult]:
        """What they showed. Rows that moved are looked at again, and once more without a lie.

        A row that moved once accuses nobody: it could have moved by itself. It takes the same lie, in another fresh
        box, under which the same rows move, by more than what another evaluation that was told the truth differs by.
        That evaluation was never split, as these were not: a process that behaves once it is split is no measure.
        Where evaluations that were told the truth differ, it takes `NOISY_RUNS` of either kind.

        Args:
            base: the scored run.
            progress: told what happens.
        """
        accusing = [(lie, run, result) for lie, run, seen in self._runs for result in seen.results if result.violated]
        if not accusing:
            return [result for *_, seen in self._runs for result in seen.results]
        told, first, worst = max(accusing, key=lambda one: one[2].violated)
        progress.phase("blind", "rows moved: the same lie once more, and once the truth")
        lies: list[BlindRun] = []
        truths: list[BlindRun] = []
        self._confirm(told, lies, truths, 1)
        if compare(base, truths[0].trace).largest > ROUNDING:
            # One pair of noisy runs may agree by chance, and then every other run looks guilty.
            self._confirm(told, lies, truths, NOISY_RUNS - 1)
        differences = [compare(base, run.trace) for run in truths]
        noise = max(ROUNDING, *(4 * difference.largest for difference in differences))
        results = [result for lie, run, _ in self._runs for result in judged(base, run, lie, noise).results]
        rows, *same = (
            _moved(next(r for r in judged(base, run, told, noise).results if r.probe == worst.probe))
            for run in (first, *lies)
        )
        held = all(run.error is None for run in truths) and not any(one.missing for one in differences)
        sure = held and bool(rows) and all(rows <= moved for moved in same)
        progress.done("seen again" if sure else "not seen again")
        results = [dataclasses.replace(result, tolerance=noise) for result in results]
        return (
            results
            if sure
            else [unconfirmed(result, worst.violated * (result.probe == worst.probe)) for result in results]
        )

    def _confirm(self, told: Lie, lies: list[BlindRun], truths: list[BlindRun], times: int) -> None:
        """Play the lie and the truth so many times each, in an order that nobody knows."""
        plays = [(lies, told), (truths, Lie((), self._job.tokens))] * times
        for index in self._secret.rng(f"confirm {len(lies)}" if lies else "confirm").permutation(len(plays)):
            runs, lie = plays[int(index)]
            runs.append(self._played(lie))

    def _lie(self, base: Trace, index: int) -> Lie:
        """Swaps all over the stream. The first run ends with other text, from a place in its second half on."""
        tokens, rng = self._job.tokens, self._secret.rng(f"lie {index}")
        tail = blind_probe(tokens, self._bos, rng, 0.5, 0.95) if index == 0 and base.in_order else None
        stop = tail.position - self.distance if tail else len(tokens) - 1
        begin = 0
        if not self.forgets:  # only rows up to the first swap tell anything
            begin = int(rng.integers(len(tokens) // 8, max(len(tokens) // 8 + 1, len(tokens) - 2 * self.distance)))
        if not self._places or (index - 1) % SHARED == 0 or not len(base.claimed):
            self._places = plan.spread(tokens, self._classes, rng, begin, stop, self.distance)
        swaps = [probe for probe in self._places if base.order[probe.position] >= 0]
        if not self.forgets:
            swaps = swaps[:1]
        claimed = set(base.claimed.tolist())
        if claimed:
            asked = [probe for probe in swaps if probe.position in claimed]
            drawn = plan.guessed(asked, tokens, self._bigram(), self._asked, self._bos, rng)
            swaps = sorted([*drawn, *(p for p in swaps if p.position not in claimed)], key=lambda p: p.position)
        return Lie.of(swaps + ([tail] if tail else []), tokens, self._bos)

    def _run(self, lie: Lie, base: Trace, progress: Progress) -> Seen:
        count = sum(len(probe.swaps) for probe in lie.probes)
        progress.phase("blind", f"an evaluation of text in which {count} tokens are replaced")
        run = self._played(lie)
        seen = judged(base, run, lie)
        self._runs.append((lie, run, seen))
        progress.done(f"{run.trace.committed:,} rows")
        return seen

    def _played(self, lie: Lie) -> BlindRun:
        run = BlindRun(Trace(len(lie.tokens)))
        try:
            with EvaluationBox(self._job, self._out / "blind.log") as box:
                evaluation = box.start_ranks(Real(lie.tokens), run.trace, lied=bool(lie.probes))
                box.run(evaluation, lambda: evaluation.run())
        except SubmissionError as error:
            run.error = str(error)
        return run


def _moved(result: ProbeResult) -> set[int]:
    """Positions of rows that moved although they must not, or did not come."""
    return {position for position, *_ in result.violations} | set(result.withheld)


def _reach(base: Trace) -> tuple[int, int]:
    """How far apart swaps must be as far as reads tell, and how far at most.

    The first is the longest window and the stride of windows; the second is no less, and a part of the stream.
    """
    most = max(base.tokens // FAR, FAR)
    sizes = [event.ranges[:, 1] - event.ranges[:, 0] for event in base.events if isinstance(event, Read)]
    lengths = np.concatenate(sizes) if sizes else np.zeros(0, np.int64)
    lengths = lengths[lengths <= max(WINDOW * base.tokens, most)]
    if not len(lengths):
        return most, most
    longest = int(lengths.max())
    _, stride = geometry(base)
    reach = max(longest + min(stride, longest), FAR)
    return reach, max(most, reach)


def unconfirmed(result: ProbeResult, rows: int) -> ProbeResult:
    """The result without its violations; `rows` that moved and were not seen again are counted apart."""
    return dataclasses.replace(result, unconfirmed=rows, violated=0, violations=[], withheld=[], still=[])

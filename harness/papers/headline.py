"""Which logged evaluations carry the claimed score: matched by number, never by label alone.

Labels lie (a SLOT score is printed as a plain sliding window in #1229, and leaderboard parsers' favourite label is
printed again after other passes), so the claim is looked for among the numbers: as the mean over seeds of one kind of
evaluation, as the seeds' own claims, as a single run's. Only where no number fits is the last evaluation taken.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

from harness.papers.logs import Metric, Run
from harness.papers.metadata import Claims
from harness.papers.reading import Number

_MOST_CHOICES = 400
_EXACT = 1e-9

How = Literal["mean", "seeds", "single", "assumed", "none"]


@dataclass(frozen=True)
class Carried:
    """A run and the evaluation in it that the claim rests on."""

    run: Run
    metric: Metric


@dataclass(frozen=True)
class Headline:
    """How the claimed score stands in the logs.

    Attributes:
        how: "mean" of the runs, "seeds" (each as claimed of it, whatever the headline is), "single" run's,
            "assumed" (no number fits; the last evaluations), "none" (no evaluation at all).
        carried: the runs that it rests on.
        mean: of the carried evaluations, bits per byte; None where there are none.
    """

    how: How
    carried: list[Carried] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        """Mean of the carried evaluations, bits per byte."""
        if not self.carried:
            return None
        return math.fsum(one.metric.bpb.value for one in self.carried) / len(self.carried)

    @property
    def matched(self) -> bool:
        """A number in the logs is the claimed one."""
        return self.how in ("mean", "seeds", "single")

    @property
    def runs(self) -> list[Run]:
        """The runs of the carried evaluations."""
        return [one.run for one in self.carried]


def find(claims: Claims, runs: list[Run]) -> Headline:
    """The runs that carry the claim."""
    scored = [run for run in runs if run.results]
    if not scored:
        return Headline("none")
    claim = claims.val_bpb.number if claims.val_bpb else None
    if claim is not None and (found := _as_mean(claim, claims, scored)):
        return Headline("mean" if len(found) > 1 else "single", found)
    if found := _as_seeds(claims, scored):
        return Headline("seeds", found)
    if claim is not None and (found := _as_single(claim, scored)):
        return Headline("single", found)
    own = _of_seeds(claims, scored) or scored
    return Headline("assumed", [Carried(run, run.results[-1]) for run in own])


def fits(claim: Number, value: float, half: float) -> bool:
    """The claim, as it is rounded or cut, is this value."""
    return abs(claim.value - value) <= 2.02 * claim.half + half + _EXACT


def _of_seeds(claims: Claims, runs: list[Run]) -> list[Run]:
    return [run for run in runs if run.seed is not None and str(int(run.seed.value)) in claims.seeds]


def _kinds(runs: list[Run]) -> list[str]:
    return list(dict.fromkeys(metric.kind for run in reversed(runs) for metric in reversed(run.results)))


def _as_mean(claim: Number, claims: Claims, runs: list[Run]) -> list[Carried]:
    """Runs whose evaluations of one kind have the claimed mean: all of them, those of the claimed seeds, one a seed."""
    best: list[Carried] = []
    for group in (_of_seeds(claims, runs), runs):
        for kind in _kinds(group):
            of_kind = [Carried(run, m) for run in group for m in run.results if m.kind == kind]
            for choice in [of_kind, *_choices(of_kind)]:
                half = max((one.metric.bpb.half for one in choice), default=0.0)
                mean = math.fsum(one.metric.bpb.value for one in choice) / len(choice) if choice else math.inf
                if len(choice) > len(best) and fits(claim, mean, half):
                    best = choice
        if len(best) > 1:
            break
    return best


def _choices(carried: list[Carried]) -> list[list[Carried]]:
    """One run for each seed, in all ways; and all but one run, for folders that keep a run that does not count."""
    by_seed: dict[object, list[Carried]] = defaultdict(list)
    for index, one in enumerate(carried):
        by_seed[one.run.seed.value if one.run.seed else f"run {index}"].append(one)
    count = math.prod(len(group) for group in by_seed.values())
    ways = [list(way) for way in itertools.product(*by_seed.values())] if 1 < count <= _MOST_CHOICES else []
    groups = list(by_seed.values())
    if 3 < len(groups) <= 9:
        ways += [[one for group in some for one in group] for some in itertools.combinations(groups, 3)]
    elif len(groups) == 3:
        ways += [[one for group in some for one in group] for some in itertools.combinations(groups, 2)]
    return ways


def _as_seeds(claims: Claims, runs: list[Run]) -> list[Carried]:
    """For each seed with a claim of its own the run that has this number; nothing unless half of them are found."""
    found = []
    asked = [one for one in claims.per_seed if one.val_bpb is not None]
    for one in asked:
        assert one.val_bpb is not None
        claim = one.val_bpb.number
        of_seed = [run for run in runs if run.seed is not None and str(int(run.seed.value)) == one.seed]
        hits = [Carried(r, m) for r in of_seed or runs for m in r.results if fits(claim, m.bpb.value, m.bpb.half)]
        found += hits[-1:]
    return found if 2 * len(found) > len(asked) else []


def _as_single(claim: Number, runs: list[Run]) -> list[Carried]:
    hits = [Carried(r, m) for r in runs for m in r.results if fits(claim, m.bpb.value, m.bpb.half)]
    return hits[-1:]

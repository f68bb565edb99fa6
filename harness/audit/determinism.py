"""determinism: the same text twice, in fresh boxes. What differs is the noise floor of all comparisons.

Rows that agree within the rounding that flips are given, 1e-6 nats, agree. What differs by more is INCONCLUSIVE, and
every comparison allows for four times that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.audit.check import Ruled, finding, not_run
from harness.audit.evidence import Evidence
from harness.record import Finding, Status, Value
from harness.referee.comparator import ROUNDING

CHECK = "determinism"


@dataclass(frozen=True)
class Repeat:
    """An unchanged run against another one, whoever played them.

    Attributes:
        compared: rows that both scored.
        differ: of them, those that are not the same to the last bit.
        largest: change of an NLL or of a log-probability, nats; infinite where only one of the two is a number.
        elsewhere: positions that only one of them scored.
        same_order: both scored the same positions in the same order.
    """

    compared: int
    differ: int
    largest: float
    elsewhere: int = 0
    same_order: bool = True

    @property
    def agrees(self) -> bool:
        """Every row is the same within rounding, and there is one."""
        return self.compared > 0 and not self.elsewhere and self.same_order and self.largest <= ROUNDING


def check(evidence: Evidence) -> Finding:
    """Two runs in fresh boxes."""
    difference = evidence.difference
    if difference is None:
        return not_run(evidence, CHECK, "no second evaluation was asked for, so there is nothing to compare with")
    repeat = Repeat(difference.positions, difference.changed, difference.largest, difference.missing)
    return judge(evidence, [repeat], {"runs_compared": 1}, ["other machines, other numbers of threads, other devices"])


def judge(
    evidence: Ruled, repeats: Sequence[Repeat], metrics: Mapping[str, Value], not_covered: Sequence[str]
) -> Finding:
    """PASS when every row of every repeat agrees within rounding, else INCONCLUSIVE.

    Args:
        evidence: knows the rules.
        repeats: at least one.
        metrics: of the collector, by id.
        not_covered: of the collector.
    """
    rows, differ = sum(one.compared for one in repeats), sum(one.differ for one in repeats)
    elsewhere = sum(one.elsewhere for one in repeats)
    largest = max(one.largest for one in repeats)
    size = "without end" if math.isinf(largest) else f"by up to {largest:.3g} nats"
    agree = all(one.agrees for one in repeats)
    if agree and not differ:
        headline = f"the same text scored again gives the same rows to the last bit, all {rows:,} that were compared"
    elif agree:
        headline = (
            f"the same text scored again gives rows that agree within rounding: {differ:,} of {rows:,} differ, {size}"
        )
    elif elsewhere:
        headline = f"the same text scored again: {elsewhere:,} positions were scored in only one of the two runs"
    elif not all(one.same_order for one in repeats):
        headline = "the same text scored again: the second run scored other positions, or in another order"
    else:
        headline = (
            f"the same text scored again gives other rows: {differ:,} of {rows:,} differ, {size}; comparisons allow "
            "for four times that"
        )
    return finding(
        evidence,
        CHECK,
        Status.PASS if agree else Status.INCONCLUSIVE,
        headline,
        metrics={
            **metrics,
            "positions_compared": rows,
            "rows_that_differ": differ,
            "largest_change": largest if math.isfinite(largest) else None,
            "positions_in_one_run": elsewhere,
        },
        power={"smallest_change": 0.0, "rows_compared": rows},
        not_covered=not_covered,
    )

"""determinism: the unchanged script twice in fresh boxes, and an unchanged fork. What differs is the noise floor."""

from __future__ import annotations

import math

from harness.record import Finding, Status, Value
from harness.scripts.checks.evidence import ScriptEvidence, found

CHECK = "determinism"


def check(evidence: ScriptEvidence) -> Finding:
    """PASS when the reruns that were made agree exactly; INCONCLUSIVE when they differ."""
    rerun, same = evidence.rerun(), evidence.same()
    made = [result for result in (rerun, *same) if result is not None]
    if not made:
        return found(
            evidence,
            CHECK,
            Status.NOT_RUN,
            "there was no second run to compare with",
            not_covered=["whether two identical runs agree"],
        )
    largest = max(result.largest for result in made)
    rows = sum(result.compared for result in made)
    metrics: dict[str, Value] = {
        "runs_compared": int(rerun is not None),
        "forks_compared": len(same),
        "rows_compared": rows,
        "rows_that_differ": sum(len(result.position) for result in made),
        "largest_change": largest if math.isfinite(largest) else None,
    }
    exact = largest == 0 and rows > 0 and all(result.aligned for result in made)
    if exact:
        headline = f"unchanged runs agree exactly on all {rows:,} rows that were compared"
    elif not all(result.aligned for result in made):
        headline = "an unchanged run scored other positions, or in another order"
    else:
        headline = f"unchanged runs differ by up to {largest:.3g} nats; comparisons allow for four times that"
    return found(
        evidence,
        CHECK,
        Status.PASS if exact else Status.INCONCLUSIVE,
        headline,
        metrics=metrics,
        power={"rows_compared": rows, "smallest_change": 0.0},
        not_covered=["clocks: the script saw a clock that ticks by calls", "GPUs and their kernels"],
    )

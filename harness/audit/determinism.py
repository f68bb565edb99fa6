"""determinism: the unchanged stream twice, in two fresh boxes. What differs is the noise floor of all comparisons."""

from __future__ import annotations

from harness.audit.evidence import Evidence, finding, not_run
from harness.record import Finding, Status

CHECK = "determinism"


def check(evidence: Evidence) -> Finding:
    """PASS when every row agrees, within rounding; INCONCLUSIVE when rows differ, or only one run scored them."""
    difference = evidence.difference
    if difference is None:
        return not_run(evidence, CHECK, "there was no second run to compare with")
    metrics = {
        "rows_that_differ": difference.changed,
        "positions_compared": difference.positions,
        "largest_change": difference.max_nll,
        "positions_in_one_run": difference.missing,
    }
    exact = evidence.repeated and difference.changed == 0
    # What flips take for rounding is taken for rounding here.
    if evidence.repeated and not exact:
        headline = (
            f"two runs in fresh boxes agree within rounding: {difference.changed:,} of {difference.positions:,} rows "
            f"differ, by up to {difference.max_nll:.3g} nats"
        )
    elif exact:
        headline = f"two runs in fresh boxes agree exactly on all {difference.positions:,} rows"
    elif difference.missing:
        headline = f"{difference.missing:,} positions were scored in only one of two identical runs"
    else:
        headline = (
            f"two identical runs differ in {difference.changed:,} of {difference.positions:,} rows, "
            f"by up to {difference.max_nll:.3g} nats"
        )
    return finding(
        evidence,
        CHECK,
        Status.PASS if evidence.repeated else Status.INCONCLUSIVE,
        headline,
        metrics=metrics,
        power={"smallest_change": 0.0, "rows_compared": difference.positions},
        not_covered=["other machines, other numbers of threads, and other devices"],
    )

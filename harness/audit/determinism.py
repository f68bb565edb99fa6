"""determinism: the unchanged stream twice, in two fresh boxes. What differs is the noise floor of all comparisons."""

from __future__ import annotations

from harness.audit.evidence import Evidence, finding, not_run
from harness.record import Finding, Status

CHECK, RULE = "determinism", "noise"


def check(evidence: Evidence) -> Finding:
    """PASS when every row agrees, within rounding; INCONCLUSIVE when rows differ, or only one run scored them."""
    difference = evidence.difference
    if difference is None:
        return not_run(evidence, CHECK, RULE, "there was no second run to compare with")
    metrics = {
        "rows that differ": difference.changed,
        "positions compared": difference.positions,
        "largest change of NLL, nats": difference.max_nll,
        "positions scored in one run only": difference.missing,
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
        RULE,
        Status.PASS if evidence.repeated else Status.INCONCLUSIVE,
        headline,
        metrics=metrics,
        power={"smallest visible change, nats": 0.0, "rows compared": difference.positions},
        not_covered=["other machines, other numbers of threads, and other devices"],
    )

"""determinism: the unchanged script twice in fresh boxes, and an unchanged fork. What differs is the noise floor.

Rows that agree within the rounding that flips are given, 1e-6 nats, agree.
"""

from __future__ import annotations

from harness.audit.determinism import CHECK, Repeat, judge
from harness.record import Finding, Status
from harness.scripts.checks.evidence import ScriptEvidence, found


def check(evidence: ScriptEvidence) -> Finding:
    """The reruns and the unchanged forks that were made."""
    rerun, same = evidence.rerun(), evidence.same()
    made = [result for result in (rerun, *same) if result is not None]
    if not made:
        why = "no second run was made, so there is nothing to compare with"
        return found(evidence, CHECK, Status.NOT_RUN, why, not_covered=["whether two identical runs agree"])
    return judge(
        evidence,
        [Repeat(one.compared, len(one.position), one.largest, same_order=one.aligned) for one in made],
        {"runs_compared": int(rerun is not None), "forks_compared": len(same)},
        ["clocks: the script saw a clock that ticks by calls", "GPUs and their kernels"],
    )

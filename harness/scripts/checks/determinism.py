"""determinism: the unchanged script twice in fresh boxes, and an unchanged fork. What differs is the noise floor.

Rows that agree within the rounding that flips are given, 1e-6 nats, agree.
"""

from __future__ import annotations

from harness.audit.determinism import CHECK, Repeat, judge
from harness.record import Finding, Status
from harness.referee.comparator import ROUNDING
from harness.scripts.checks.evidence import ScriptEvidence, found


def check(evidence: ScriptEvidence) -> Finding:
    """The reruns and the unchanged forks; INCONCLUSIVE where a run was planned and left nothing to compare."""
    rerun, same = evidence.rerun(), evidence.same()
    made = [result for result in (rerun, *same) if result is not None]
    again = evidence.again
    if again is not None and rerun is None and all(one.aligned and one.largest <= ROUNDING for one in same):
        why = "the second run did not get to the pass that counts"
        if again.ended not in ("ok", "exit 0"):
            why = f"the second run did not come to its end: {again.facts.get('error') or again.ended}"[:400]
        return found(evidence, CHECK, Status.INCONCLUSIVE, why, not_covered=["whether two identical runs agree"])
    if not made:
        why = "no second run was made, so there is nothing to compare with"
        return found(evidence, CHECK, Status.NOT_RUN, why, not_covered=["whether two identical runs agree"])
    return judge(
        evidence,
        [Repeat(one.compared, len(one.position), one.largest, same_order=one.aligned) for one in made],
        {"runs_compared": int(rerun is not None), "forks_compared": len(same)},
        ["clocks: the script saw a clock that ticks by calls", "GPUs and their kernels"],
    )

"""determinism: the unchanged script twice, in fresh boxes. What differs is the noise floor.

Where tokens are replaced in forks of the second run, a fork that changes nothing is what is compared.

Rows that agree within the rounding that flips are given, 1e-6 nats, agree.
"""

from __future__ import annotations

from harness.audit.determinism import CHECK, Repeat, judge
from harness.record import Finding, Status
from harness.scripts.checks.evidence import FINISHED, ScriptEvidence, found


def check(evidence: ScriptEvidence) -> Finding:
    """The second run; INCONCLUSIVE where it was planned and left nothing to compare."""
    rerun, again = evidence.rerun(), evidence.again
    if again is not None and rerun is None:
        why = "the second run did not get to the pass that counts"
        if again.ended not in FINISHED:
            why = f"the second run did not come to its end: {again.facts.get('error') or again.ended}"[:400]
        return found(evidence, CHECK, Status.INCONCLUSIVE, why, not_covered=["whether two identical runs agree"])
    if rerun is None:
        why = "no second run was made, so there is nothing to compare with"
        return found(evidence, CHECK, Status.NOT_RUN, why, not_covered=["whether two identical runs agree"])
    return judge(
        evidence,
        [Repeat(rerun.compared, len(rerun.position), rerun.largest, same_order=rerun.aligned)],
        {"runs_compared": 1},
        ["clocks: the script saw a clock that ticks by calls", "GPUs and their kernels"],
    )

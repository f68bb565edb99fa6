"""isolation: what the script could reach while it ran."""

from __future__ import annotations

from harness.record import Finding, Status
from harness.scripts.checks.evidence import ScriptEvidence, found

CHECK = "isolation"


def check(evidence: ScriptEvidence) -> Finding:
    """PASS when the run got to its end in a closed box; INCONCLUSIVE when the box was open or the run was cut short."""
    ended = evidence.base.ended
    finished = evidence.main is not None
    closed = evidence.confined
    if closed and finished:
        status = Status.PASS
        headline = (
            f"the script ran in a closed sandbox ({evidence.sandbox}): no network, no files but its own and the data"
        )
    elif closed:
        status, headline = (
            Status.INCONCLUSIVE,
            f"the sandbox was closed, and the script did not get to a score ({ended})",
        )
    else:
        status, headline = (
            Status.INCONCLUSIVE,
            f"the sandbox was open ({evidence.sandbox}): what the script read is not known",
        )
    return found(
        evidence,
        CHECK,
        status,
        headline,
        metrics={"sandbox": evidence.sandbox, "ended": ended},
        power={"by_construction": closed},
        not_covered=["what the script would reach outside the sandbox", "a reload in a fresh process"],
    )

"""artifact-independence: could the artifact have been made from the validation text?

For adapters the answer is by construction: the train box holds the train shards and no validation token, so nothing
that is trained, calibrated or packed there depends on them. That is as strong as the box.
"""

from __future__ import annotations

from harness.audit.evidence import Evidence, finding
from harness.record import Finding, Status

CHECK, RULE = "artifact-independence", "data"


def check(evidence: Evidence) -> Finding:
    """PASS when the train box was closed; INCONCLUSIVE when it was not."""
    level = evidence.level
    closed = level.filesystem and level.network
    not_covered = [
        "validation text that the author has put into the submission's own files (size-limit counts their bytes)",
        "the standard library's documentation, which the box can read and the stdlib data set is made of",
    ]
    headline = (
        f"by construction: the train box ({level.name}) held the training shards and no validation token"
        if closed
        else f"the train box was open ({level.name}): what the artifact was made from is not known"
    )
    return finding(
        evidence,
        CHECK,
        RULE,
        Status.PASS if closed else Status.INCONCLUSIVE,
        headline,
        metrics={"train box confined": closed, "sandbox": level.name},
        power={"by construction": closed},
        not_covered=not_covered,
    )

"""The checks. One module each; every one is a function of an `Evidence`, and returns one finding."""

from __future__ import annotations

from collections.abc import Sequence

from harness.audit import (
    artifact_independence,
    byte_accounting,
    causality,
    check,
    claims,
    clocks,
    data_split,
    determinism,
    document_boundary,
    isolation,
    normalization,
    null_stream,
    proof,
    score_before_update,
    significance,
    single_pass,
    size_limit,
)
from harness.audit.check import Need, Provider
from harness.audit.evidence import Evidence
from harness.record import Finding

_SECOND = frozenset({Need.SECOND_RUN})
_FLIPS = frozenset({Need.SECOND_RUN, Need.FLIPS})

#: Every check that an adapter's audit makes, by its id, in the order in which a report should be read.
CHECKS: dict[str, Provider[Evidence]] = {
    "determinism": Provider(determinism.check, _SECOND),
    "causality": Provider(causality.check, _FLIPS),
    "null-stream": Provider(null_stream.check, frozenset({Need.NULL_RUN})),
    "normalization": Provider(normalization.check, frozenset({Need.CLAIMS})),
    "score-before-update": Provider(score_before_update.check, _FLIPS),
    "single-pass": Provider(single_pass.check),
    "artifact-independence": Provider(artifact_independence.check, frozenset({Need.RETRAINING, Need.AT_HAND})),
    "data-split": Provider(data_split.check),
    "document-boundary": Provider(document_boundary.check, frozenset({Need.SECOND_RUN, Need.BOUNDARIES})),
    "byte-accounting": Provider(byte_accounting.check),
    "size-limit": Provider(size_limit.check),
    "train-clock": Provider(clocks.check_train),
    "eval-clock": Provider(clocks.check_eval),
    "isolation": Provider(isolation.check, frozenset({Need.SECOND_RUN, Need.AT_HAND})),
    "claims": Provider(claims.check),
    "significance": Provider(significance.check),
    "proof": Provider(proof.check, frozenset({Need.PROOF})),
}


def select(names: str) -> list[str]:
    """Turn `all` or a comma-separated list into check ids.

    Raises:
        UsageError: an id is not known.
    """
    return check.select(names, CHECKS)


def judge(evidence: Evidence, names: Sequence[str]) -> list[Finding]:
    """Run the checks that were asked for on what was recorded."""
    return check.judge(evidence, names, CHECKS)

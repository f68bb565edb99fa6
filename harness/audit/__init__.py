"""The checks. One module each; every one is a function of an `Evidence`, and returns one finding."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.audit import (
    artifact_independence,
    byte_accounting,
    causality,
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
from harness.audit.evidence import Evidence
from harness.audit.guard import guarded
from harness.errors import UsageError
from harness.record import Finding

Check = Callable[[Evidence], Finding]

#: Every check by its stable id, in the order in which a report should be read.
CHECKS: dict[str, Check] = {
    "determinism": determinism.check,
    "causality": causality.check,
    "null-stream": null_stream.check,
    "normalization": normalization.check,
    "score-before-update": score_before_update.check,
    "single-pass": single_pass.check,
    "artifact-independence": artifact_independence.check,
    "data-split": data_split.check,
    "document-boundary": document_boundary.check,
    "byte-accounting": byte_accounting.check,
    "size-limit": size_limit.check,
    "train-clock": clocks.check_train,
    "eval-clock": clocks.check_eval,
    "isolation": isolation.check,
    "claims": claims.check,
    "significance": significance.check,
    "proof": proof.check,
}

#: Checks that run only when they are named: they cost more than all others together.
ON_REQUEST = {"proof"}

#: Checks that need the second evaluation, the one with forks.
NEED_SECOND_RUN = {"determinism", "causality", "score-before-update", "document-boundary", "isolation"}


def select(names: str) -> list[str]:
    """Turn `all` or a comma-separated list into check ids.

    Raises:
        UsageError: an id is not known.
    """
    if names == "all":
        return [name for name in CHECKS if name not in ON_REQUEST]
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in CHECKS]
    if unknown or not wanted:
        raise UsageError(f"no check {', '.join(unknown) or names!r}; known: {', '.join(CHECKS)}")
    return [name for name in CHECKS if name in wanted]


def judge(evidence: Evidence, names: Sequence[str]) -> list[Finding]:
    """Run the checks that were asked for on what was recorded. One that breaks is an ERROR, and the others go on."""
    return [guarded(name, CHECKS[name], evidence) for name in names]

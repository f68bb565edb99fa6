"""artifact-independence: could the artifact have been made from the validation text?

For most adapters the answer is by construction: the train box holds the train shards and no validation token, so
nothing that is trained, calibrated or packed there depends on them. That is as strong as the box. A submission that
declares that its training reads validation data is trained again with other validation data, and has to seal the same
bytes.
"""

from __future__ import annotations

from harness.audit.evidence import Evidence, Retraining, finding, not_run
from harness.record import Finding, Metric, Status, Witness

CHECK, RULE = "artifact-independence", "data"

_ALWAYS = [
    "validation text that the author has put into the submission's own files (size-limit counts their bytes)",
    "the standard library's documentation, which the box can read and the stdlib data set is made of",
]


def check(evidence: Evidence) -> Finding:
    """PASS when the train box was closed, or held validation data that left no trace; FAIL when it left one."""
    if evidence.retraining is not None:
        return _compared(evidence, evidence.retraining)
    if evidence.claims.get("reads_validation"):
        why = "its training read validation data, and was not done again with other data to compare"
        return not_run(evidence, CHECK, RULE, why)
    level = evidence.level
    closed = level.filesystem and level.network
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
        not_covered=_ALWAYS,
    )


def _compared(evidence: Evidence, runs: Retraining) -> Finding:
    level = evidence.level
    closed = level.filesystem and level.network
    metrics: dict[str, Metric] = {
        "train box confined": closed,
        "sandbox": level.name,
        "validation tokens in the train box": runs.tokens,
        "second validation set": runs.source,
        "trainings compared": runs.trainings,
    }
    not_covered = [
        "what both validation sets have in common: document lengths, the language, the tokenizer",
        *_ALWAYS,
    ]
    witness, status = None, Status.INCONCLUSIVE
    if runs.error is not None:
        headline = f"its training read validation data, and could not be compared with another one: {runs.error}"
    elif runs.second == runs.first and closed:
        status = Status.PASS
        headline = "the artifact is the same, byte for byte, when it is trained with other validation data"
    elif runs.second == runs.first:
        headline = f"the same bytes with other validation data, but the train box was open ({level.name})"
    elif runs.reproducible:
        status = Status.FAIL
        headline = f"the artifact depends on the validation data: with other data it differs in {runs.difference}"
        witness = Witness(
            kind="artifacts",
            summary=f"two trainings with each of two validation sets: the artifacts differ in {runs.difference}",
            data={
                "validation_sha256": list(runs.validation),
                "artifact_sha256": [runs.first, runs.second],
                "artifact_bytes": list(runs.sizes),
                "first_difference": runs.difference,
            },
        )
    else:
        headline = "its training is not reproducible: with the same validation data, too, the artifact is another one"
        not_covered.insert(0, "whether the artifact depends on the validation data")
    return finding(
        evidence,
        CHECK,
        RULE,
        status,
        headline,
        metrics=metrics,
        witness=witness,
        power={"trainings compared": runs.trainings, "smallest visible change of the artifact, bytes": 1},
        not_covered=not_covered,
    )

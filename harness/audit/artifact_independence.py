"""artifact-independence: could the artifact have been made from the validation text?

For most adapters the answer is by construction: the train box holds the train shards and no validation token, and
no file that it can read holds a passage of the validation text, so nothing that is trained, calibrated or packed there
depends on them. That is as strong as the box. Where text is at hand, as the stdlib data set is in every Python, the
check cannot decide; where the submission itself brings it along, it fails. A submission that declares that its training
reads validation data is trained again with other validation data, and has to seal the same bytes. Of an artifact that
was given as a file nobody knows what it was made from.
"""

from __future__ import annotations

from harness.audit import reach
from harness.audit.check import finding, not_run
from harness.audit.evidence import Evidence, Retraining
from harness.record import Finding, Status, Value, Witness

CHECK = "artifact-independence"


def check(evidence: Evidence) -> Finding:
    """PASS when the box was closed and no text at hand, or validation data left no trace; FAIL when it left one."""
    witness = reach.held(evidence.at_hand)
    if witness is not None:
        share = evidence.at_hand.own_share if evidence.at_hand else 0.0
        return finding(
            evidence,
            CHECK,
            Status.FAIL,
            f"the submission brings {share:.1%} of the validation text along, in {witness.data['file']}",
            metrics=reach.metrics(evidence.at_hand),
            witness=witness,
            power=reach.power(evidence.at_hand),
            not_covered=reach.NOT_COVERED,
        )
    if evidence.given:
        return finding(
            evidence,
            CHECK,
            Status.INCONCLUSIVE,
            "the artifact was given as a file, not trained here: what it was made from is not known",
            metrics=reach.metrics(evidence.at_hand),
            power=reach.power(evidence.at_hand),
            not_covered=["what trained the artifact, and on which text", *reach.NOT_COVERED],
        )
    if evidence.retraining is not None:
        return _compared(evidence, evidence.retraining)
    if evidence.claims.get("reads_validation"):
        why = "its training read validation data, and was not done again with other data to compare"
        return not_run(evidence, CHECK, why)
    level = evidence.level
    closed = level.filesystem and level.network
    doubt = reach.doubt(evidence.at_hand) or reach.own_doubt(evidence.at_hand)
    by_construction = closed and reach.none_at_hand(evidence.at_hand)
    if not closed:
        headline = f"the sandbox of the training was open ({level.name}): what the artifact was made from is not known"
    elif doubt:
        headline = doubt
    else:
        text = (
            "no file that it could read holds a passage of the validation text"
            if by_construction
            else "files hold no more than a trace of the validation text"
        )
        headline = (
            f"the sandbox of the training ({level.name}) held the training shards and no validation token, and {text}"
        )
        headline = f"by construction: {headline}" if by_construction else headline
    return finding(
        evidence,
        CHECK,
        Status.PASS if closed and not doubt else Status.INCONCLUSIVE,
        headline,
        metrics={"train_confined": closed, "sandbox": level.name, **reach.metrics(evidence.at_hand)},
        power={"by_construction": by_construction, **reach.power(evidence.at_hand)},
        not_covered=reach.NOT_COVERED,
    )


def _compared(evidence: Evidence, runs: Retraining) -> Finding:
    level = evidence.level
    closed = level.filesystem and level.network
    metrics: dict[str, Value] = {
        "train_confined": closed,
        "sandbox": level.name,
        "validation_given": runs.tokens,
        "second_validation": runs.source,
        "trainings_compared": runs.trainings,
        **reach.metrics(evidence.at_hand),
    }
    doubt = reach.doubt(evidence.at_hand) or reach.own_doubt(evidence.at_hand)
    not_covered = [
        "what both validation sets have in common: document lengths, the language, the tokenizer",
        *reach.NOT_COVERED,
    ]
    witness, status = None, Status.INCONCLUSIVE
    if runs.error is not None:
        headline = f"its training read validation data, and could not be compared with another one: {runs.error}"
    elif runs.second == runs.first and closed and doubt:
        headline = f"the same bytes with other validation data, but {doubt}"
    elif runs.second == runs.first and closed:
        status = Status.PASS
        headline = "the artifact is the same, byte for byte, when it is trained with other validation data"
    elif runs.second == runs.first:
        headline = f"the same bytes with other validation data, but the sandbox of the training was open ({level.name})"
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
        status,
        headline,
        metrics=metrics,
        witness=witness,
        power={
            "trainings_compared": runs.trainings,
            "smallest_artifact_change": 1,
            **reach.power(evidence.at_hand),
        },
        not_covered=not_covered,
    )

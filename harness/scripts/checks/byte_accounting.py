"""byte-accounting: the bytes that the printed BPB implies, against the true bytes of the targets that were scored.

A BPB is total nats / log 2 / total bytes; with the loss beside it, the bytes per token can be solved for. The harness
made the text, so the true number is known. At this size only the arithmetic is judged: the submission's own tokenizer
and the real text are the evidence part's business.
"""

from __future__ import annotations

from harness.record import Finding, Status, Value, Witness
from harness.scripts.checks.evidence import ScriptEvidence, found
from harness.scripts.checks.implied import implied

CHECK = "byte-accounting"


def check(evidence: ScriptEvidence) -> Finding:
    """PASS on the true bytes, FAIL on those of a known mistake, INCONCLUSIVE, with both numbers, on any others."""
    if evidence.token_bytes is None:
        return found(
            evidence,
            CHECK,
            Status.NOT_RUN,
            "the true bytes of the stream are not known",
            not_covered=["the bytes behind the BPB"],
        )
    seen = implied(evidence)
    if seen is None:
        return found(
            evidence,
            CHECK,
            Status.INCONCLUSIVE,
            "no line shows the headline pass's loss and BPB together",
            not_covered=["the bytes behind the BPB"],
        )
    metrics: dict[str, Value] = {
        "implied_bytes_per_token": seen.implied,
        "true_bytes_per_token": seen.true,
        "ratio": seen.implied / seen.true if seen.true else None,
        "tokens": seen.tokens,
    }
    power: dict[str, Value] = {"smallest_difference": seen.room}
    not_covered = [
        "the submission's own tokenizer and the real validation text (claims and byte-accounting of the evidence)",
        "normalisation of the text before it was tokenised",
    ]

    def conclude(status: Status, headline: str, witness: Witness | None = None) -> Finding:
        return found(
            evidence, CHECK, status, headline, metrics=metrics, witness=witness, power=power,
            not_covered=not_covered,
        )  # fmt: skip

    said = f"the printed BPB implies {seen.implied:.4f} bytes per token"
    if seen.near(seen.true):
        return conclude(Status.PASS, f"{said}; the text has {seen.true:.4f}")
    if seen.near(seen.sidecar):
        return conclude(Status.PASS, f"{said}, which is what the side-car promises")
    if (name := seen.mistake) is not None:
        witness = Witness(
            kind="bytes",
            summary=f"{seen.tokens:,} tokens of {seen.true:.4f} bytes on average count as {seen.implied:.4f}: {name}",
            data={"implied": seen.implied, "true": seen.true, "mistake": seen.mistakes[name], "line": seen.line.text},
        )
        return conclude(Status.FAIL, f"{said}, the text has {seen.true:.4f}: {name}", witness)
    return conclude(Status.INCONCLUSIVE, f"{said}, the text has {seen.true:.4f}; no known mistake explains it")

"""byte-accounting: the bytes that the printed BPB implies, against the true bytes of the targets that were scored.

A BPB is total nats / log 2 / total bytes; with the loss beside it, the bytes per token can be solved for. The harness
made the text, so the true number is known. At this size only the arithmetic is judged: the submission's own tokenizer
and the real text are the evidence part's business.
"""

from __future__ import annotations

import math

from harness.record import Finding, Metric, Status, Witness
from harness.scripts.checks.evidence import ScriptEvidence, found
from harness.scripts.observed import Ints

CHECK, RULE = "byte-accounting", "metric"

#: Relative difference up to which the implied bytes are the true ones; a printed BPB has 4 to 8 digits.
MATCH = 2e-3


def check(evidence: ScriptEvidence) -> Finding:
    """PASS on the true bytes, FAIL on those of a known mistake, INCONCLUSIVE, with both numbers, on any others."""
    main = evidence.main
    line = main.printed if main is not None else None
    if main is None or line is None or line.loss is None or not line.bpb:
        return found(
            evidence,
            CHECK,
            RULE,
            Status.INCONCLUSIVE,
            "no line shows the headline pass's loss and BPB together",
            not_covered=["the bytes behind the BPB"],
        )
    if evidence.token_bytes is None:
        return found(
            evidence,
            CHECK,
            RULE,
            Status.NOT_RUN,
            "the true bytes of the stream are not known",
            not_covered=["the bytes behind the BPB"],
        )
    inside = main.position[(main.position >= 0) & (main.position < len(evidence.token_bytes))]
    true = _mean(evidence.token_bytes, inside)
    loss = main.mean if math.isfinite(main.mean) else line.loss
    implied = loss / math.log(2) / line.bpb
    room = MATCH + 0.51 * 10.0**-line.bpb_digits / line.bpb
    metrics: dict[str, Metric] = {
        "implied bytes per token": implied,
        "true bytes per token": true,
        "ratio": implied / true if true else None,
        "tokens": len(inside),
    }
    power: dict[str, Metric] = {"smallest visible relative difference": room}
    not_covered = [
        "the submission's own tokenizer and the real validation text (claims and byte-accounting of the evidence)",
        "normalisation of the text before it was tokenised",
    ]

    def conclude(status: Status, headline: str, witness: Witness | None = None) -> Finding:
        return found(
            evidence, CHECK, RULE, status, headline, metrics=metrics, witness=witness, power=power,
            not_covered=not_covered,
        )  # fmt: skip

    def near(wanted: float) -> bool:
        return wanted > 0 and abs(implied - wanted) <= room * wanted

    if near(true):
        return conclude(Status.PASS, f"the printed BPB implies {implied:.4f} bytes per token; the text has {true:.4f}")
    if evidence.sidecar_bytes is not None and near(_mean(evidence.sidecar_bytes, inside)):
        return conclude(
            Status.PASS, f"the printed BPB implies {implied:.4f} bytes per token, which is what the side-car promises"
        )
    for name, counts in evidence.miscounts.items():
        if near(_mean(counts, inside)):
            witness = Witness(
                kind="bytes",
                summary=f"{len(inside):,} tokens of {true:.4f} bytes on average are counted as {implied:.4f}: {name}",
                data={"implied": implied, "true": true, "mistake": _mean(counts, inside), "line": line.text},
            )
            return conclude(
                Status.FAIL,
                f"the printed BPB implies {implied:.4f} bytes per token, the text has {true:.4f}: {name}",
                witness,
            )
    return conclude(
        Status.INCONCLUSIVE,
        f"the printed BPB implies {implied:.4f} bytes per token, the text has {true:.4f}; no known mistake explains it",
    )


def _mean(counts: Ints, inside: Ints) -> float:
    return float(counts[inside].sum()) / max(len(inside), 1)

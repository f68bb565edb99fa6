"""null-stream: nobody beats the entropy. The loss that the script reports is enough; nothing inside it has to be seen.

The base run's own stream is a draw: token ids without replacement, uniformly. Its log-probability is known exactly, so
a script that reports less in total by 21 nats than the source itself charges has broken a rule.
"""

from __future__ import annotations

import math

from harness.audit.null_stream import power_figure
from harness.record import Finding, Scalar, Status, Value, Witness
from harness.referee.null import CERTAIN
from harness.scripts.checks.evidence import ScriptEvidence, found

CHECK = "null-stream"


def check(evidence: ScriptEvidence) -> Finding:
    """FAIL when the reported loss is below what any legal scorer reaches; the finding says what it would have seen."""
    if not evidence.nulls:
        return found(
            evidence,
            CHECK,
            Status.NOT_RUN,
            "the script reported no loss on a stream of known entropy",
            not_covered=["the reported total"],
        )
    worst = max(evidence.nulls, key=lambda null: null.saving)
    rows: list[list[Scalar]] = [
        [null.source, null.saving, null.tokens, null.reported_nll / max(null.tokens, 1)] for null in evidence.nulls
    ]
    metrics: dict[str, Value] = {
        "saving": worst.saving,
        "source": worst.source,
        "tokens_drawn": worst.tokens,
        "reported": worst.reported_nll / max(worst.tokens, 1),
        "streams": rows,
    }
    visible = min(max(0.0, CERTAIN - null.saving) / max(null.tokens, 1) for null in evidence.nulls)
    power: dict[str, Value] = {
        "streams_played": len(evidence.nulls),
        "smallest_leak": visible,
    }
    not_covered = [
        "leaks that save less than the tiny model loses against the source; the flips see those",
        "mixtures that save only where text repeats" if len(evidence.nulls) == 1 else "what acts only at full size",
    ]
    if worst.saving >= CERTAIN:
        exponent = math.floor(worst.saving / math.log(10))
        witness = Witness(
            kind="null",
            summary=(
                f"on {worst.tokens:,} tokens drawn from {worst.source} the script reports {worst.saving:,.1f} nats "
                f"less than the source itself charges; a legal scorer does so with a probability below 1e-{exponent}"
            ),
            data={
                "source": worst.source,
                "seed": worst.seed,
                "tokens": worst.tokens,
                "source_nll": worst.source_nll,
                "reported_nll": worst.reported_nll,
                "read_from": worst.how,
            },
        )
        return found(
            evidence,
            CHECK,
            Status.FAIL,
            f"on random text from {worst.source} it reports {worst.saving:,.1f} nats less than is possible without "
            f"seeing the answers ({worst.tokens:,} tokens; chance below 1e-{exponent})",
            metrics=metrics,
            witness=witness,
            power=power,
            not_covered=[*not_covered, "which of C1 to C4 is broken: the bound covers all of them"],
            figures={"power": power_figure(worst.saving, worst.tokens)},
        )
    return found(
        evidence,
        CHECK,
        Status.PASS,
        f"on random text from {worst.source} it reports no less than is possible without seeing the answers: "
        f"{-worst.saving / max(worst.tokens, 1):.3f} nats per token more; a leak of {visible:.3f} would have been "
        "certain to show",
        metrics=metrics,
        power=power,
        not_covered=not_covered,
        figures={"power": power_figure(worst.saving, worst.tokens)},
    )

"""null-stream: nobody beats the entropy. The loss that the script reports is enough; nothing inside it has to be seen.

The base run's own stream is a draw: token ids without replacement, uniformly. Its log-probability is known exactly, so
a script that reports less in total by 21 nats than the source itself charges has broken a rule.
"""

from __future__ import annotations

from harness.audit.null_stream import CHECK, Played, judge
from harness.record import Finding, Scalar, Status
from harness.referee.null import Saving
from harness.scripts.checks.evidence import ScriptEvidence, found


def check(evidence: ScriptEvidence) -> Finding:
    """Every stream of known entropy that the script reported a loss on."""
    nulls = evidence.nulls
    if not nulls:
        why = "the script reported no loss on a stream of known entropy"
        return found(evidence, CHECK, Status.NOT_RUN, why, not_covered=["the reported total"])
    played = [
        Played(
            one.source,
            Saving(one.saving, one.tokens, 0),
            {
                "source": one.source,
                "seed": one.seed,
                "tokens": one.tokens,
                "source_nll": one.source_nll,
                "reported_nll": one.reported_nll,
                "read_from": one.how,
            },
        )
        for one in nulls
    ]
    rows: list[list[Scalar]] = [
        [one.source, one.saving, one.tokens, one.reported_nll / max(one.tokens, 1)] for one in nulls
    ]
    not_covered = [
        "leaks that save less than the tiny model loses against the source; tests with other text see those",
        "mixtures that save only where text repeats" if len(nulls) == 1 else "what acts only at full size",
    ]
    made = judge(evidence, played, {"streams": rows}, not_covered)
    lost = evidence.not_made("null")
    if made.status != Status.PASS or lost is None:
        return made
    headline = f"{made.headline}; but a planned run on another stream was not made: {lost}"
    return made.model_copy(update={"status": Status.INCONCLUSIVE, "headline": headline, "remedy": None})

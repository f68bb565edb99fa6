"""normalization: the row behind every scored token is a distribution, and what is charged is what the row gives."""

from __future__ import annotations

import numpy as np

from harness.record import Finding, Metric, Status, Witness
from harness.scripts.checks import followed
from harness.scripts.checks.evidence import ScriptEvidence, found
from harness.scripts.passes import MIXED

CHECK, RULE = "normalization", "C2"

#: Rows in bfloat16 sum to 1 within about 1e-2 at V = 8,192.
TOLERANCE = 2e-2


def check(evidence: ScriptEvidence) -> Finding:
    """FAIL on rows that sum to more than 1; INCONCLUSIVE where the charge is not a row's, or rows were not seen."""
    main = evidence.main
    problem = followed.why_not(evidence)
    if main is None or not len(main.position):
        return found(
            evidence,
            CHECK,
            RULE,
            Status.INCONCLUSIVE,
            problem or "no pass was found",
            not_covered=["everything: no row was seen"],
        )
    count = len(main.position)
    seen = np.isfinite(main.lse)
    excess = np.where(seen & ~main.logit, main.lse, 0.0)
    over = int((excess > TOLERANCE).sum())
    worst = int(np.argmax(excess))
    below = main.charged < main.nll - MIXED * (1 + np.abs(main.nll))
    metrics: dict[str, Metric] = {
        "rows": count,
        "rows whose sum was seen": int(seen.sum()),
        "rows that sum to more than 1": over,
        "largest sum of a row": float(np.exp(min(float(excess[worst]), 690.0))),
        "charges that differ from the row's NLL": main.modified,
        "of them lower": int(below.sum()),
    }
    power: dict[str, Metric] = {"rows checked": int(seen.sum()), "tolerance of a row's log-sum, nats": TOLERANCE}
    not_covered = ["rows are those of the loss's own softmax; what is mixed into logits before it is not undone"]
    if over:
        position = int(main.position[worst])
        total = float(np.exp(min(float(excess[worst]), 690.0)))
        witness = Witness(
            kind="row",
            summary=f"the probabilities in the row for position {position} sum to {total:.6g}",
            data={"position": position, "sum": total, "tolerance": TOLERANCE, "place": main.place},
        )
        return found(
            evidence,
            CHECK,
            RULE,
            Status.FAIL,
            f"{over:,} of {count:,} rows sum to more than 1, the worst to {total:.4g}",
            metrics=metrics,
            witness=witness,
            power=power,
            not_covered=not_covered,
        )
    if main.modified:
        status = Status.INCONCLUSIVE
        headline = (
            f"{main.modified:,} of {count:,} charges are not their row's NLL ({int(below.sum()):,} are lower): a "
            "mixture whose sum over the vocabulary was not seen"
        )
        not_covered.append("the sum of the mixture over all tokens")
    elif problem:
        status, headline = Status.INCONCLUSIVE, f"the rows that were seen sum to 1, but {problem}"
    elif not seen.all():
        status = Status.INCONCLUSIVE
        headline = f"{int((~seen).sum()):,} of {count:,} rows were not seen, only their losses"
    else:
        status = Status.PASS
        headline = f"all {count:,} charges are the NLL of a softmax over the whole row"
    return found(evidence, CHECK, RULE, status, headline, metrics=metrics, power=power, not_covered=not_covered)

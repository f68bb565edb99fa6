"""normalization: is every committed row a distribution over the whole vocabulary?"""

from __future__ import annotations

import numpy as np

from harness.audit import kraft
from harness.audit.check import finding, not_run
from harness.audit.evidence import Evidence
from harness.record import Finding, Status, Witness
from harness.sandbox.protocol import Rows

CHECK = "normalization"

#: Nats. Log-probabilities in bfloat16 have 8 bits: rows sum to 1 within 1e-2. What a row sums to beyond 1 is charged to
#: it, so that this room is worth nothing to anybody.
TOLERANCE = 0.02


def check(evidence: Evidence) -> Finding:
    """FAIL when a row of log-probabilities sums to more than 1; logits are normalised by the referee."""
    trace = evidence.trace
    scored = trace.scored
    if not len(scored):
        return not_run(evidence, CHECK, "no row was committed")
    if Rows.REALISED in trace.kinds:
        return kraft.check(evidence)
    if trace.kinds == {Rows.LOGITS}:
        return finding(
            evidence,
            CHECK,
            Status.PASS,
            f"all {len(scored):,} rows are logits over the whole vocabulary; the referee normalised each one itself",
            metrics={"rows": len(scored), "columns": evidence.dataset.vocab_size},
            power={"rows_checked": len(scored), "share_of_rows": 1.0},
            not_covered=["what the submission normalised before its logits: a mixture's experts, for instance"],
        )
    excess = trace.excess[scored]
    worst = int(scored[np.argmax(np.abs(excess))])
    total = _sum(trace.excess[worst])
    over = int((excess > TOLERANCE).sum())
    under = int((excess < -TOLERANCE).sum())
    metrics = {
        "rows": len(scored),
        "rows_above_one": over,
        "rows_below_one": under,
        "worst_sum": total,
        "charged_for_excess": float(np.maximum(excess, 0).sum()),
    }
    power = {"rows_checked": len(scored), "share_of_rows": 1.0, "tolerance": TOLERANCE}
    not_covered = ["whether a row was fixed before its token was known (causality)"]
    if over:
        peak = int(scored[np.argmax(excess)])
        total = _sum(trace.excess[peak])
        witness = Witness(
            kind="row",
            summary=f"the probabilities in the row for position {peak} sum to {total:.6f}",
            data={"position": peak, "sum": total, "tolerance": TOLERANCE},
        )
        headline = f"{over:,} of {len(scored):,} rows sum to more than 1, the worst to {total:.4g}"
        return finding(
            evidence,
            CHECK,
            Status.FAIL,
            headline,
            metrics=metrics,
            witness=witness,
            power=power,
            not_covered=not_covered,
        )
    headline = f"all {len(scored):,} rows sum to at most 1 (the furthest from 1: {total:.6f})"
    return finding(evidence, CHECK, Status.PASS, headline, metrics=metrics, power=power, not_covered=not_covered)


def _sum(excess: float) -> float:
    """A row's probability sum from its logarithm; what is beyond a float counts as 1e300."""
    return float(np.exp(min(float(excess), 690.7)))

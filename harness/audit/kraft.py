"""Rows of which only the realised token's probability was claimed: ask for more of them, and add up.

At a position t the token is replaced by others; a scorer that holds a distribution claims a probability for each, and
together with the real token's they sum to at most 1. Only part of a row is asked for, so its sum is a lower bound.
"""

from __future__ import annotations

import math

import numpy as np

from harness.audit.evidence import Evidence, finding
from harness.record import Finding, Metric, Status, Witness
from harness.referee.source import ALTERNATIVE

CHECK, RULE = "normalization", "C2"

#: Claims are float32; a sum over 25 of them is off by far less.
TOLERANCE = 1e-4

#: Standard errors by which an estimate of a whole row's sum has to exceed 1 to be held against it.
ERRORS = 4


def check(evidence: Evidence) -> Finding:
    """FAIL on a probability above 1 or a partial sum above 1; INCONCLUSIVE where the estimate of the whole sum is."""
    trace = evidence.trace
    claimed = int((trace.order >= 0).sum())
    asked: dict[int, list[tuple[int, float]]] = {}
    for result in evidence.probes:
        if result.probe.token_class == ALTERNATIVE and result.own is not None:
            asked.setdefault(result.probe.position, []).append((result.probe.token, -result.own[1]))
    low = float(np.nanmin(trace.nll))
    metrics: dict[str, Metric] = {"rows": claimed, "largest probability claimed": math.exp(min(-low, 700.0))}
    if low < -TOLERANCE:
        position = int(np.nanargmin(trace.nll))
        witness = Witness(
            kind="row",
            summary=f"for position {position} a probability of {math.exp(min(-low, 700.0)):.6f} is claimed",
            data={"position": position, "log_prob": -low},
        )
        headline = f"probabilities above 1 are claimed, the largest {math.exp(min(-low, 700.0)):.4g}"
        return finding(evidence, CHECK, RULE, Status.FAIL, headline, metrics=metrics, witness=witness)
    if not asked:
        headline = "only the realised token's probability was committed, and no other token's could be asked for"
        return finding(evidence, CHECK, RULE, Status.INCONCLUSIVE, headline, metrics=metrics)
    others = len(evidence.dataset.table.base) - 1
    sums: dict[int, float] = {}
    estimates, surely = [], []
    for position, claims in asked.items():
        probabilities = np.exp([min(log_prob, 700.0) for _, log_prob in claims])
        real = math.exp(-float(trace.nll[position]))
        sums[position] = real + float(probabilities.sum())
        estimates.append(real + others * float(probabilities.mean()))
        # A peaked row gives wild estimates: what counts is what is left of them after their own error.
        error = float(probabilities.std(ddof=1)) / math.sqrt(len(probabilities)) if len(probabilities) > 1 else 1.0
        surely.append(max(sums[position], estimates[-1] - ERRORS * others * error))
    worst = max(sums, key=lambda position: sums[position])
    metrics |= {
        "positions asked": len(asked),
        "alternatives claimed for": sum(map(len, asked.values())),
        "largest partial sum": sums[worst],
        "mean estimate of a whole sum": float(np.mean(estimates)),
        "largest estimate less four standard errors": max(surely),
    }
    power: dict[str, Metric] = {
        "share of a row that was asked for": (1 + max(map(len, asked.values()))) / (others + 1),
        "positions asked": len(asked),
    }
    not_covered = [
        "the rest of these rows, and all other rows: the sum is a lower bound (null-stream bounds the total)"
    ]
    if sums[worst] > 1 + TOLERANCE:
        tokens, log_probs = zip(*sorted(asked[worst]), strict=True)
        witness = Witness(
            kind="kraft",
            summary=f"at position {worst} the probabilities of {1 + len(tokens)} tokens sum to {sums[worst]:.4f}",
            data={"position": worst, "sum_at_least": sums[worst], "tokens": list(tokens), "log_probs": list(log_probs)},
        )
        headline = f"{1 + len(tokens)} of {others + 1} probabilities of one row sum to {sums[worst]:.4g}"
        return finding(
            evidence, CHECK, RULE, Status.FAIL, headline, metrics=metrics, witness=witness, power=power,
            not_covered=not_covered,
        )  # fmt: skip
    if max(surely) > 1 + TOLERANCE:
        status = Status.INCONCLUSIVE
        headline = (
            f"parts of rows sum to {sums[worst]:.3g}, but a whole row is estimated at {max(surely):.3g} "
            f"even less {ERRORS} standard errors"
        )
    else:
        status = Status.PASS
        each = 1 + max(map(len, asked.values()))
        headline = (
            f"{each} probabilities of each of {len(asked)} rows were asked for; they sum to at most {sums[worst]:.4f}"
        )
    return finding(
        evidence, CHECK, RULE, status, headline, metrics=metrics, power=power, not_covered=not_covered
    )  # fmt: skip

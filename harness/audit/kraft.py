"""Rows of which only the realised token's probability was claimed: ask for more of them, and add up.

At a position t the token is replaced by others; a scorer that holds a distribution claims a probability for each, and
together with the real token's they sum to at most 1. Of rows in the scored run only a part is asked for, so its sum is
a lower bound. One row of a short stream is asked for in full, where the vocabulary is not too large for that.

Whole evaluations in which tokens are replaced all over the stream ask for one more probability at each such place. A
token y that is drawn there with probability r(y), which nobody but the referee knows, has E[q(y) / r(y)] <= 1 for
whatever distribution q the scorer holds. Bets on the difference, 1 + b (q(y) / r(y) - 1) for a fixed share b, multiply
to a supermartingale: by Ville's inequality it passes e^21 with a probability below 1e-9 if every claim is one of a
distribution. The mean over a few shares is one as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.audit.check import finding
from harness.audit.evidence import Evidence
from harness.record import Finding, Status, Value, Witness
from harness.referee.comparator import ROUNDING
from harness.referee.null import CERTAIN
from harness.referee.source import ALTERNATIVE, Probe
from harness.referee.wholerow import LARGEST_VOCABULARY, WholeRow

CHECK = "normalization"

#: Claims are float32; a sum over 25 of them is off by far less.
TOLERANCE = 1e-4

#: Claims of a whole row that a witness lists: the largest.
LISTED = 24

#: Shares of the wealth that are bet on each drawn token: small ones see a little everywhere, large ones much at times.
BETS = (0.01, 0.03, 0.1, 0.3)

#: Standard errors by which an estimate of a whole row's sum has to exceed 1 to be held against it.
ERRORS = 4


def check(evidence: Evidence) -> Finding:
    """FAIL on a probability above 1, or a sum above 1 of a part or all of a row; INCONCLUSIVE where an estimate is."""
    trace = evidence.trace
    row = max(evidence.rows, key=lambda one: one.total, default=None)
    tokens = evidence.dataset.validation
    apart = max((one.differs(int(tokens[one.position])) for one in evidence.rows), default=0.0)
    allowed = max(evidence.flip_tolerance, ROUNDING)
    parts = _Parts.of(evidence)
    drawn = [
        (one.probe, one.claimed) for one in evidence.probes if one.probe.odds is not None and one.claimed is not None
    ]
    wealth = log_wealth(drawn)
    low = float(np.nanmin(trace.nll))
    largest = math.exp(min(-low, 700.0))
    metrics: dict[str, Value] = {
        "rows": int((trace.order >= 0).sum()),
        "largest_claim": largest,
        **parts.metrics(),
    }
    if drawn:
        metrics["log_wealth"] = wealth
    power: dict[str, Value] = {
        "share_asked": parts.share,
        "positions_asked": len(parts.sums),
        "rows_asked": len(evidence.rows),
        "tokens_drawn": len(drawn),
    }
    not_covered = [
        "all other rows, and the rest of these: a partial sum is a lower bound (null-stream bounds the total)"
    ]
    if evidence.no_row and row is None:
        not_covered.append(f"a whole row: it was asked for, and none came ({evidence.no_row})")
    elif evidence.unsplit:
        not_covered.append(f"other tokens' probabilities: asking for one takes a split, and {evidence.unsplit}")
    elif row is None:
        not_covered.append(
            f"whole rows: they are asked for up to V = {LARGEST_VOCABULARY:,}, of a scorer that takes a shorter stream"
        )
    else:
        metrics |= {
            "whole_row_sum": row.total,
            "whole_row_claims": row.claims,
            "claim_difference": apart,
        }
        not_covered.append("the document start in the whole row: a scorer may know where documents begin")

    def conclude(status: Status, headline: str, witness: Witness | None = None) -> Finding:
        return finding(
            evidence, CHECK, status, headline, metrics=metrics, witness=witness, power=power,
            not_covered=not_covered,
        )  # fmt: skip

    if low < -TOLERANCE:
        position = int(np.nanargmin(trace.nll))
        witness = Witness(
            kind="row",
            summary=f"for position {position} a probability of {largest:.6f} is claimed",
            data={"position": position, "log_prob": -low},
        )
        return conclude(Status.FAIL, f"probabilities above 1 are claimed, the largest {largest:.4g}", witness)
    if parts.largest > 1 + TOLERANCE:
        witness = parts.witness()
        return conclude(
            Status.FAIL,
            f"{1 + len(witness.data['tokens'])} of {parts.others + 1} probabilities of one row "
            f"sum to {parts.largest:.4g}",
            witness,
        )
    if wealth >= CERTAIN:
        mean = float(np.mean([ratio(probe, nll) for probe, nll in drawn]))
        witness = Witness(
            kind="draws",
            summary=(
                f"{len(drawn):,} tokens drawn with known probabilities were claimed, on average, at {mean:.3f} times "
                "these: more than 1 by far more than chance gives"
            ),
            data={
                "tokens": len(drawn),
                "mean_ratio": mean,
                "log_wealth": wealth,
                "largest": [
                    [probe.position, probe.token, -nll, probe.odds]
                    for probe, nll in sorted(drawn, key=lambda one: -ratio(*one))[:LISTED]
                ],
            },
        )
        return conclude(
            Status.FAIL,
            f"what is claimed for {len(drawn):,} tokens that were drawn in place of others is no distribution: bets on "
            f"that won a factor of e^{wealth:.1f}, and e^{CERTAIN:g} has a chance below 1e-9",
            witness,
        )
    if row is not None and row.total > 1 + TOLERANCE and evidence.tolerance <= ROUNDING:
        return conclude(
            Status.FAIL,
            f"the {row.claims} probabilities of one row, asked for one by one, sum to {row.total:.4g}",
            _witness(evidence, row),
        )
    if row is not None and row.total > 1 + TOLERANCE:
        return conclude(
            Status.INCONCLUSIVE,
            f"a whole row sums to {row.total:.4g}, but identical runs differ by {evidence.tolerance / 4:.2g} nats",
        )
    if row is not None and apart > allowed:
        return conclude(
            Status.INCONCLUSIVE,
            f"a whole row was asked for at a position for whose token the scored run claimed another probability (by "
            f"{apart:.3g} nats): it says nothing of the row that was charged",
        )
    if parts.surely > 1 + TOLERANCE:
        return conclude(
            Status.INCONCLUSIVE,
            f"parts of rows sum to {parts.largest:.3g}, but a whole row is estimated at {parts.surely:.3g} "
            f"even less {ERRORS} standard errors",
        )
    said = []
    if parts.sums:
        said.append(
            f"up to {parts.each} probabilities of each of {len(parts.sums)} rows were asked for; "
            f"they sum to at most {parts.largest:.4f}"
        )
    if drawn:
        said.append(f"bets on {len(drawn):,} drawn tokens won a factor of e^{wealth:.1f}, short of e^{CERTAIN:g}")
    if row is not None:
        said.append(f"{row.claims} of all {len(row.log_probs)} of one row sum to {row.total:.6f}")
    if not said:
        return conclude(
            Status.INCONCLUSIVE,
            "only the realised token's probability was committed, and no other token's could be asked for"
            + (f": {evidence.unsplit}" if evidence.unsplit else ""),
        )
    if row is None:
        said.append("no row was asked for in full, so the rest is not known")
        return conclude(Status.INCONCLUSIVE, "; ".join(said))
    return conclude(Status.PASS, "; ".join(said))


def ratio(probe: Probe, nll: float) -> float:
    """What is claimed for a drawn token, in units of the probability that it was drawn with."""
    assert probe.odds is not None
    return math.exp(min(-nll - probe.odds, 300.0))


def log_wealth(drawn: Sequence[tuple[Probe, float]]) -> float:
    """Log of what bets on drawn tokens have won: the mean over `BETS` of the products; -inf never, 0 without draws.

    Args:
        drawn: swaps with their odds, and the loss in nats that the scorer claimed for the token.
    """
    ratios = np.array([ratio(probe, nll) for probe, nll in drawn])
    won = [float(np.log1p(share * (ratios - 1)).sum()) for share in BETS]
    return float(np.logaddexp.reduce(won) - math.log(len(BETS)))


@dataclass(frozen=True)
class _Parts:
    """What was claimed for some tokens of some rows of the scored run.

    Attributes:
        asked: (token, log-probability) by position.
        sums: probability sum of what was asked for and the real token, by position.
        estimates: estimates of the whole rows' sums.
        surely: the largest of them less its error; what was summed exactly is the least that it can be.
        others: tokens of the vocabulary but one.
    """

    asked: Mapping[int, list[tuple[int, float]]]
    sums: Mapping[int, float]
    estimates: list[float]
    surely: float
    others: int

    @classmethod
    def of(cls, evidence: Evidence) -> _Parts:
        """Collect the answers."""
        asked: dict[int, list[tuple[int, float]]] = {}
        drawn: set[int] = set()
        for result in evidence.probes:
            if result.probe.token_class == ALTERNATIVE and result.claimed is not None:
                asked.setdefault(result.probe.position, []).append((result.probe.token, -result.claimed))
                if result.probe.odds is not None:
                    drawn.add(result.probe.position)
        others = len(evidence.dataset.table.base) - 1
        sums: dict[int, float] = {}
        estimates, surely = [], 0.0
        for position, claims in asked.items():
            if position in drawn:  # not drawn evenly, so that their sum is all that they say
                sums[position] = math.exp(-float(evidence.trace.nll[position]))
                sums[position] += sum(math.exp(min(log_prob, 700.0)) for _, log_prob in claims)
                surely = max(surely, sums[position])
                continue
            probabilities = np.exp([min(log_prob, 700.0) for _, log_prob in claims])
            real = math.exp(-float(evidence.trace.nll[position]))
            sums[position] = real + float(probabilities.sum())
            estimates.append(real + others * float(probabilities.mean()))
            # A peaked row gives wild estimates: what counts is what is left of them after their own error.
            error = float(probabilities.std(ddof=1)) / math.sqrt(len(probabilities)) if len(probabilities) > 1 else 1.0
            surely = max(surely, sums[position], estimates[-1] - ERRORS * others * error)
        return cls(asked, sums, estimates, surely, others)

    @property
    def largest(self) -> float:
        """The largest partial sum."""
        return max(self.sums.values(), default=0.0)

    @property
    def each(self) -> int:
        """Tokens that were asked for at a position, the real one included."""
        return 1 + max(map(len, self.asked.values()), default=0)

    @property
    def share(self) -> float:
        """The part of a row that was asked for."""
        return self.each / (self.others + 1) if self.asked else 0.0

    def metrics(self) -> dict[str, Value]:
        """Numbers for the finding; none where nothing was asked."""
        if not self.asked:
            return {}
        return {
            "positions_asked": len(self.asked),
            "alternatives": sum(map(len, self.asked.values())),
            "largest_partial_sum": self.largest,
            **({"mean_sum": float(np.mean(self.estimates))} if self.estimates else {}),
            "surely_at_least": self.surely,
        }

    def witness(self) -> Witness:
        """The row with the largest partial sum."""
        worst = max(self.sums, key=lambda position: self.sums[position])
        tokens, log_probs = zip(*sorted(self.asked[worst]), strict=True)
        return Witness(
            kind="kraft",
            summary=f"at position {worst} the probabilities of {1 + len(tokens)} tokens sum to {self.sums[worst]:.4f}",
            data={
                "position": worst,
                "sum_at_least": self.sums[worst],
                "tokens": list(tokens),
                "log_probs": list(log_probs),
            },
        )


def _witness(evidence: Evidence, row: WholeRow) -> Witness:
    claimed = [int(token) for token in np.argsort(-np.nan_to_num(row.log_probs, nan=-np.inf), kind="stable")]
    listed = [token for token in claimed if not math.isnan(row.log_probs[token])][:LISTED]
    tokens = evidence.dataset.validation
    return Witness(
        kind="whole row",
        summary=(
            f"in the first {row.length:,} tokens of the stream, the probabilities claimed for position "
            f"{row.position:,}, for {row.claims} tokens in its place, sum to {row.total:.4f}"
        ),
        data={
            "length": row.length,
            "position": row.position,
            "context": evidence.dataset.tokenizer.decode(tokens[max(0, row.position - 48) : row.position]),
            "sum": row.total,
            "claims": row.claims,
            "largest": [[token, float(row.log_probs[token])] for token in listed],
        },
    )

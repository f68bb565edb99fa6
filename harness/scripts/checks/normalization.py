"""normalization: the row behind every scored token is a distribution, and what is charged is what the row gives.

Where it is not what the row gives (a mixture with counts), other tokens are put by lot into a text in which phrases
recur: what the mixture adds to one token it must take from others (see `substitution`). Where losses decide something,
the script runs again with one decision turned: a charge that its own loss has chosen is no distribution's (see
`choosing`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.record import Finding, Status, Value, Witness
from harness.referee.null import CERTAIN
from harness.scripts.checks import choosing, followed, substitution
from harness.scripts.checks.choosing import Choice
from harness.scripts.checks.evidence import RECURS, ScriptEvidence, found
from harness.scripts.checks.substitution import Sum
from harness.scripts.trace.passes import Pass

CHECK = "normalization"

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
            Status.INCONCLUSIVE,
            problem or "no pass was found",
            not_covered=["everything: no row was seen"],
        )
    count = len(main.position)
    seen = np.isfinite(main.lse)
    excess = np.where(seen & ~main.logit, main.lse, 0.0)
    over = int((excess > TOLERANCE).sum())
    worst = int(np.argmax(excess))
    metrics: dict[str, Value] = {
        "rows": count,
        "rows_summed": int(seen.sum()),
        "rows_above_one": over,
        "worst_sum": float(np.exp(min(float(excess[worst]), 690.0))),
        "charges_that_differ": main.modified,
        "charges_lower": int(main.lowered.sum()),
    }
    power: dict[str, Value] = {"rows_checked": int(seen.sum()), "tolerance": TOLERANCE}
    not_covered = ["rows are those of the loss's own softmax; what is mixed into logits before it is not undone"]
    witness = mixture = None
    mixed = evidence.recurring.scored.modified if evidence.recurring is not None else 0
    chosen = choosing.look(evidence)
    if evidence.turned:
        power["decisions_turned"] = len(evidence.turned)
    if evidence.recurring is not None and mixed and not over and chosen.caught is None:
        mixture = substitution.total(evidence.recurring)
        metrics |= _metrics(mixture, mixed)
    if over:
        status = Status.FAIL
        total = float(np.exp(min(float(excess[worst]), 690.0)))
        headline = f"{over:,} of {count:,} rows sum to more than 1, the worst to {total:.4g}"
        witness = _row(main, worst, total)
    elif chosen.caught is not None:
        status, headline = _caught(chosen.caught, problem)
        metrics["charges_chosen"] = len(chosen.caught.position)
        witness = choosing.witness(chosen.caught) if status == Status.FAIL else None
    elif mixture is not None and mixture.wealth >= CERTAIN:
        status = Status.FAIL
        headline = (
            f"{RECURS}, what is charged sums to more than 1 over the vocabulary: on average over {len(mixture.places)} "
            f"positions to about {1 + mixture.excess:.3f} or more (by chance: below "
            f"1e-{int(mixture.wealth / math.log(10))})"
        )
        witness = _witness(mixture, main.place)
        not_covered.append("what it is worth on natural text")
    elif main.modified or mixed:
        status = Status.INCONCLUSIVE
        headline = _mixed(main, mixture, mixed) + (f"; and {chosen.open}" if chosen.open is not None else "")
        not_covered.append("the sum of the mixture over all tokens")
    elif problem:
        status, headline = Status.INCONCLUSIVE, f"the rows that were seen sum to 1, but {problem}"
    elif (why := evidence.not_made("recurring", "substituted")) is not None:
        status = Status.INCONCLUSIVE
        headline = f"the rows that were seen sum to 1, but a planned run {RECURS} was not made: {why}"
    elif chosen.open is not None:
        status, headline = Status.INCONCLUSIVE, f"all rows that were seen sum to 1, but {chosen.open}"
    elif not seen.all():
        status = Status.INCONCLUSIVE
        headline = f"{int((~seen).sum()):,} of {count:,} rows were not seen, only their losses"
    else:
        status = Status.PASS
        headline = f"all {count:,} charges are the NLL of a softmax over the whole row"
    return found(
        evidence,
        CHECK,
        status,
        headline,
        metrics=metrics,
        witness=witness,
        power=power,
        not_covered=not_covered,
    )


def _row(main: Pass, worst: int, total: float) -> Witness:
    position = int(main.position[worst])
    return Witness(
        kind="row",
        summary=f"the probabilities in the row for position {position} sum to {total:.6g}",
        data={"position": position, "sum": total, "tolerance": TOLERANCE, "place": main.place},
    )


def _caught(choice: Choice, problem: str | None) -> tuple[Status, str]:
    """What is said of a choice. Where the printed number is not that of the charges, it may be paid for."""
    decision = choice.turned.decision
    headline = (
        f"which of two losses of a token is charged was chosen by its own loss or later ones, at {decision.place} "
        f"({decision.name}): the better of two rows for whatever comes sums to more than 1 wherever they differ"
    )
    return (Status.INCONCLUSIVE, f"{headline}; but {problem}") if problem else (Status.FAIL, headline)


def _mixed(main: Pass, mixture: Sum | None, mixed: int) -> str:
    """What is known of a mixture that was not seen to sum to more than 1."""
    text = f"{RECURS}, {mixed:,} charges are not their row's NLL: a mixture"
    if main.modified:
        text = (
            f"{main.modified:,} of {len(main.position):,} charges are not their row's NLL ({int(main.lowered.sum()):,} "
            "are lower): a mixture whose sum over the vocabulary was not seen"
        )
    if mixture is None or not len(mixture.places):
        return text
    where = "there" if text.startswith(RECURS) else RECURS
    return (
        f"{text}; {where} it adds {float(mixture.gained.mean()):.2g} to a token that came and sums to about "
        f"{1 + mixture.excess:.2f} or more over the vocabulary, on average over {len(mixture.places)} positions"
    )


def _metrics(total: Sum, mixed: int) -> dict[str, Value]:
    replaced = total.replaced
    made: dict[str, Value] = {
        "charges_that_differ_recurring": mixed,
        "tokens_replaced": int(replaced.sum()),
        "tokens_left": int((~replaced).sum()),
    }
    if len(total.places):
        made |= {
            "gained": float(total.gained.mean()),
            "sum_estimate": 1 + total.excess,
            "log_wealth": total.wealth,
        }
    if replaced.any():
        made["lost_replaced"] = _lost(total, replaced)
    if not replaced.all():
        made["lost_left"] = _lost(total, ~replaced)
    return made


def _lost(total: Sum, some: NDArray[np.bool_]) -> float:
    """The share that these tokens lost on average, 0 for one that gained."""
    return float(-np.minimum(total.taken[some], 0.0).mean())


def _witness(total: Sum, place: str) -> Witness:
    worst = int(np.argmax(np.where(total.replaced, total.payoffs, 0.0)))
    position = int(total.places[worst])
    return Witness(
        kind="substitution",
        summary=(
            f"at position {position:,} the token that came gets {total.gained[worst]:.4g} more probability than its "
            f"row gives; token {int(total.drawn[worst])} in its place, drawn from the row, keeps "
            f"{1 + total.taken[worst]:.4g} of what the row gives; likewise at {len(total.places)} positions, "
            f"where lots replaced {int(total.replaced.sum())} tokens"
        ),
        data={
            "place": place,
            "positions": total.places.tolist(),
            "tokens": total.drawn.tolist(),
            "replaced": total.replaced.tolist(),
            "added": total.gained.tolist(),
            "kept": (1 + total.taken).tolist(),
        },
    )

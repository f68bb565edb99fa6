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
from harness.scripts.checks.evidence import AT_LENGTH, RECURS, ScriptEvidence, found
from harness.scripts.checks.substitution import Balance, Sum
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
    long = _at_length(evidence)
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
    witness = mixture = balance = None
    mixed = evidence.recurring.scored.modified if evidence.recurring is not None else 0
    chosen = choosing.look(evidence)
    if long is not None:
        power["length_rows"] = len(long.position)
        metrics["length_rows_above_one"] = len(_above_one(long))
    if evidence.turned:
        power["decisions_turned"] = len(evidence.turned)
    if evidence.recurring is not None and mixed and not over and chosen.caught is None:
        mixture, balance = substitution.total(evidence.recurring), substitution.balance(evidence.recurring)
        metrics |= _metrics(mixture, balance, mixed)
    if over:
        status = Status.FAIL
        total = float(np.exp(min(float(excess[worst]), 690.0)))
        headline = f"{over:,} of {count:,} rows sum to more than 1, the worst to {total:.4g}"
        witness = _row(main, worst, total)
    elif long is not None and len(found_there := _above_one(long)):
        status = Status.FAIL
        at = int(found_there[np.argmax(long.lse[found_there])])
        total = float(np.exp(min(float(long.lse[at]), 690.0)))
        rows = f"{len(found_there):,} of {len(long.position):,} rows"
        headline = f"{AT_LENGTH} {rows} sum to more than 1, the worst to {total:.4g}"
        witness = _row(long, at, total, AT_LENGTH)
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
    elif (main.modified or mixed) and not (balance is not None and balance.even and seen.all()):
        status = Status.INCONCLUSIVE
        headline = _mixed(main, mixture, balance, mixed) + (f"; and {chosen.open}" if chosen.open is not None else "")
        not_covered.append("the sum of the mixture over all tokens")
    elif long is not None and long.modified and balance is None:
        status = Status.INCONCLUSIVE
        headline = (
            f"{AT_LENGTH}, and only there, {long.modified:,} of {len(long.position):,} charges are not their row's "
            "NLL: a mixture whose sum over the vocabulary was not seen"
        )
    elif problem:
        status, headline = Status.INCONCLUSIVE, f"the rows that were seen sum to 1, but {problem}"
    elif (why := evidence.not_made("recurring", "substituted")) is not None:
        status = Status.INCONCLUSIVE
        headline = f"the rows that were seen sum to 1, but a planned run {RECURS} was not made: {why}"
    elif chosen.open is not None:
        status, headline = Status.INCONCLUSIVE, f"all rows that were seen sum to 1, but {chosen.open}"
    elif mixture is not None and balance is not None:
        status = Status.PASS
        headline = _paid(mixture, balance, mixed)
        not_covered.append("gains as large as counts over the whole text give: here a tiny model's rows are tilted")
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


def _at_length(evidence: ScriptEvidence) -> Pass | None:
    """The pass at the submitted length, where one was made and followed."""
    made = evidence.at_length
    return made.shown.main if made is not None and made.shown is not None else None


def _above_one(scored: Pass) -> NDArray[np.int64]:
    """Rows that sum to more than 1, as indices into the pass."""
    with np.errstate(invalid="ignore"):
        return np.flatnonzero(np.isfinite(scored.lse) & ~scored.logit & (scored.lse > TOLERANCE))


def _row(main: Pass, worst: int, total: float, text: str = "") -> Witness:
    position = int(main.position[worst])
    return Witness(
        kind="row",
        summary=f"the probabilities in the row for position {position} sum to {total:.6g}",
        data={
            "position": position,
            "sum": total,
            "tolerance": TOLERANCE,
            "place": main.place,
            **({"text": text} if text else {}),
        },
    )


def _caught(choice: Choice, problem: str | None) -> tuple[Status, str]:
    """What is said of a choice. Where the printed number is not that of the charges, it may be paid for."""
    decision = choice.turned.decision
    headline = (
        f"which of two losses of a token is charged was chosen by its own loss or later ones, at {decision.place} "
        f"({decision.name}): the better of two rows for whatever comes sums to more than 1 wherever they differ"
    )
    return (Status.INCONCLUSIVE, f"{headline}; but {problem}") if problem else (Status.FAIL, headline)


def _paid(mixture: Sum, balance: Balance, mixed: int) -> str:
    """What is said of a mixture whose gains the other tokens paid for."""
    return (
        f"{RECURS}, {mixed:,} charges are those of a mixture, and what it adds to a token that came, "
        f"{float(mixture.gained.mean()):.2g} on average, it takes from the others: {balance.share:.0%} of it at "
        f"{balance.places} places where another token was put, at least {balance.least:.0%} with 99.9 % confidence"
    )


def _mixed(main: Pass, mixture: Sum | None, balance: Balance | None, mixed: int) -> str:
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
    if balance is None:
        paid = ""
    elif balance.places < substitution.ENOUGH:
        paid = f"; what it takes from others was seen at {balance.places} places, and {substitution.ENOUGH} are needed"
    else:
        paid = f"; {balance.share:.0%} of that was seen to be taken from other tokens, at least {balance.least:.0%}"
    return (
        f"{text}; {where} it adds {float(mixture.gained.mean()):.2g} to a token that came and sums to about "
        f"{1 + mixture.excess:.2f} or more over the vocabulary, on average over {len(mixture.places)} positions{paid}"
    )


def _metrics(total: Sum, balance: Balance | None, mixed: int) -> dict[str, Value]:
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
    if balance is not None:
        made |= {"paid_places": balance.places, "paid_share": balance.share, "paid_at_least": balance.least}
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

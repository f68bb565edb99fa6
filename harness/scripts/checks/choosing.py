"""Charges that were chosen by losses of their own or later targets: what runs with one decision turned say of it.

A decision is made of the losses of some targets. Turned into its opposite it changes charges or it does not. Charges of
targets that come after all of those may change: to go by what has been scored is legal. A charge that changes although
its own loss, or a later one, was among what the decision was made of was chosen by it: if the lower of two was charged
and nothing paid for the choice, what is charged is the larger of two probabilities, and these sum to more than 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.record import Witness
from harness.scripts.checks import followed
from harness.scripts.checks.comparing import compare
from harness.scripts.checks.evidence import Flip, ScriptEvidence, Turned, counterpart
from harness.scripts.trace.decided import WHOLE, Decision, decisions, whole
from harness.scripts.trace.lines import Printed
from harness.scripts.trace.observed import Floats, Ints
from harness.scripts.trace.passes import MIXED, Pass

#: Choices that a witness shows.
_SHOWN = 20
#: Operations that give the lowest or highest of their operands: one decision shows which of the two it is.
_EXTREMES = {"minimum", "maximum", "fmin", "fmax", "amin", "amax", "min", "max"}

#: What a turned decision did: nothing that is forbidden; it had lowered charges of its own targets, or raised them;
#: something was added to what it had chosen; some of its own targets are not charged at all, or only then are; the run
#: could not be compared.
Effect = Literal["none", "lower", "higher", "paid", "dropped", "lost"]
#: What is asked of losses to find out that a run has broken down: no choice.
_GUARDS = {"isnan", "isinf", "isfinite"}


@dataclass(frozen=True)
class Choice:
    """What one turned decision showed.

    Attributes:
        turned: the run.
        effect: see `Effect`.
        position: int64 [k], targets whose charge it chose although it was made of their own or later losses.
        charged, other: float64 [k], nats, what they are charged, and what with the decision turned.
        why: what is not known, one clause; empty where all is.
    """

    turned: Turned
    effect: Effect
    position: Ints
    charged: Floats
    other: Floats
    why: str = ""


@dataclass(frozen=True)
class Choices:
    """All of them.

    Attributes:
        made: one for each run.
        caught: the one that shows the offence best; None where none does.
        open: what could not be told, with its place; None where nothing is left open.
    """

    made: tuple[Choice, ...]
    caught: Choice | None
    open: str | None


def look(evidence: ScriptEvidence) -> Choices:
    """What the turned runs show."""
    assert evidence.main is not None
    among = {id(turned) for turned in _evaluations(evidence)} | {id(one.turned) for one in weights(evidence)}
    made = tuple(_choice(evidence, turned) for turned in evidence.turned if id(turned) not in among)
    lower = [one for one in made if one.effect == "lower" and one.turned.decision.certain]
    caught = max(lower, key=lambda one: float((one.other - one.charged).sum()), default=None)
    return Choices(made, caught, None if caught is not None else _open(evidence, made))


def chosen_evaluation(evidence: ScriptEvidence) -> str | None:
    """One of several finished evaluations was chosen by its score: what was seen of it; None where none was.

    With the decision turned, the script reports another number, and the evaluation that counts was over when it fell.
    """
    last = evidence.base.last
    now = _score(last) if last is not None else None
    for turned in _finished(evidence):
        other = turned.trace.last
        if turned.error or last is None or other is None or last.label != other.label:
            continue
        then = _score(other)
        if now is not None and then not in (None, now):
            return (
                f"the reported score is that of one of several finished evaluations, which {_at(turned.decision)} chose"
                f" by their scores: {now:.6f}, and {then:.6f} with that decision turned"
            )
    return None


def lost_evaluation(evidence: ScriptEvidence) -> str | None:
    """What a comparison of finished evaluations decides, and why that is not known; None where all of them are."""
    lost = next((turned for turned in _finished(evidence) if turned.error), None)
    if lost is None:
        return None
    return f"what the scores of whole evaluations decide at {_at(lost.decision)} is not known: {lost.error}"


@dataclass(frozen=True)
class Weights:
    """Losses on the validation text decided, before the pass that counts began, what it starts from.

    Attributes:
        turned: the run in which that decision came out the other way.
        scored: the pass that counts, there.
        moved: targets that both charge, and not alike.
        both: targets that both charge.
        before, after: the mean charge of these, nats, as it is and with the decision turned.
    """

    turned: Turned
    scored: Pass
    moved: int
    both: int
    before: float
    after: float


def weights(evidence: ScriptEvidence) -> list[Weights]:
    """The turned decisions of that kind: what they were made of is past, and (nearly) the whole pass is another."""
    base, made = evidence.main, []
    if base is None:
        return []
    begin = evidence.base.begin(base)
    for turned in evidence.turned:
        if turned.error or turned.decision.seq >= begin:
            continue
        other = counterpart(evidence.base, turned.trace)
        if other is None:
            continue
        both, old, new, moved = _charges(evidence, other)
        if moved.sum() >= WHOLE * max(1, len(both)):
            made.append(Weights(turned, other, int(moved.sum()), len(both), float(old.mean()), float(new.mean())))
    return made


def chosen_weights(evidence: ScriptEvidence) -> str | None:
    """Weights or settings were chosen by their loss on validation text: what was seen of it; None where none were."""
    found = weights(evidence)
    if not found:
        return None
    one = found[0]
    return (
        f"losses on the validation text decide at {_at(one.turned.decision)}, before the pass that counts begins, which"
        f" weights or settings it has: with that decision turned {one.moved:,} of {one.both:,} targets are charged"
        f" otherwise, {one.after:.6f} nats on average instead of {one.before:.6f}"
    )


def explains(evidence: ScriptEvidence, flip: Flip) -> bool:
    """Whether all that a whole run on changed text moved is that such a decision came out the other way on it."""
    other = counterpart(evidence.base, flip.trace) if flip.trace is not None else None
    if other is None or flip.scope != "run":
        return False
    mask = flip.variant.mask(evidence.base.tokens)
    held = (compare(one.scored, other, mask) for one in weights(evidence))
    return any(result.aligned and result.compared and not result.moved(evidence.tolerance) for result in held)


def _evaluations(evidence: ScriptEvidence) -> list[Turned]:
    """Turned decisions in which the scores of whole evaluations are held against each other."""
    assert evidence.main is not None
    among = {made.told_apart for made in whole(evidence.base, evidence.main)}
    return [turned for turned in evidence.turned if turned.decision.told_apart in among]


def _finished(evidence: ScriptEvidence) -> list[Turned]:
    """Those of them that fell when the evaluation which counts was over."""
    assert evidence.main is not None
    seq = evidence.main.seq
    return [turned for turned in _evaluations(evidence) if turned.decision.seq >= seq]


def _score(line: Printed) -> float | None:
    return line.loss if line.loss is not None else line.bpb


def paid(evidence: ScriptEvidence) -> str | None:
    """A choice by their own losses for which something is paid, or which takes the higher; None where there is none.

    Which of two losses is charged then depends on later tokens, and that is no offence of the rows.
    """
    seen = look(evidence)
    known = [one for one in seen.made if one.effect in ("paid", "higher", "lower")]
    if not known or (seen.caught is not None and followed.why_not(evidence) is None):
        return None
    decision = known[0].turned.decision
    how = {"paid": "something is paid for it", "higher": "the higher is taken"}.get(known[0].effect)
    return f"they are chosen at {_at(decision)}, and {how or 'what is printed is not the sum of the charges'}"


def _open(evidence: ScriptEvidence, made: tuple[Choice, ...]) -> str | None:
    assert evidence.main is not None
    for one in made:
        decision = one.turned.decision
        if one.effect in ("lower", "paid"):
            how = "something is paid for it" if one.effect == "paid" else "in this run it always came out the same way"
            return f"charges are chosen by losses of their own targets at {_at(decision)}, and {how}"
        if one.effect == "higher" and decision.name.removeprefix("numpy ") not in _EXTREMES:
            return f"charges are chosen by losses of their own targets at {_at(decision)}, here the higher ones"
        if one.effect == "dropped" and decision.name.removeprefix("numpy ") not in _GUARDS:
            return f"whether a target is charged at all is decided by its own loss at {_at(decision)}"
        if one.effect == "lost" and decision.certain:
            return f"what losses decide at {_at(decision)} is not known: {one.why}"
    tried = {turned.decision.site for turned in evidence.turned}
    left = [item for item in decisions(evidence.base, evidence.main) if item.site not in tried and item.certain]
    if left:
        return f"what losses decide at {_at(left[0])} was not tried"
    return None


def witness(choice: Choice) -> Witness:
    """What is charged, what with the decision turned, and enough to turn it again."""
    decision = choice.turned.decision
    order = np.argsort(choice.charged - choice.other, kind="stable")[:_SHOWN]
    at = order[0]
    count = len(choice.position)
    columns = (choice.position, choice.charged, choice.other)
    return Witness(
        kind="choice",
        summary=(
            f"position {int(choice.position[at]):,} is charged {choice.charged[at]:.6f} nats; with decision "
            f"{decision.call:,} of the {decision.name} at {decision.place} turned, which is made of its own loss or "
            f"later ones, {choice.other[at]:.6f} ({count:,} such charge{'s' if count > 1 else ''})"
        ),
        data={
            "place": decision.place,
            "name": decision.name,
            "call": decision.call,
            "element": decision.element,
            "made_of": [int(decision.positions[0]), int(decision.positions[-1])],
            "chosen": [
                {"position": int(p), "charged": _nats(charged), "other": _nats(other)}
                for p, charged, other in zip(*(column[order] for column in columns), strict=True)
            ],
        },
    )


def _nats(value: Any) -> float | None:
    """For a record: None for infinitely many."""
    return float(value) if np.isfinite(value) else None


def _at(decision: Decision) -> str:
    return f"{decision.place} ({decision.name})"


def _choice(evidence: ScriptEvidence, turned: Turned) -> Choice:
    base = evidence.main
    assert base is not None
    nothing = np.zeros(0)

    def without(effect: Effect, why: str = "") -> Choice:
        return Choice(turned, effect, nothing.astype(np.int64), nothing, nothing, why)

    other = counterpart(evidence.base, turned.trace) if turned.error is None else None
    if other is None:
        return without("lost", turned.error or "with it turned, the pass that counts was not found")
    tokens = evidence.base.tokens
    before, after = base.rank(tokens), other.rank(tokens)
    both, old, new, moved = _charges(evidence, other)
    chosen = both[moved]
    latest, rank = int(turned.decision.positions.max()), before[turned.decision.positions]
    # A later target is one that comes later both in the stream and as the script scores.
    later = (chosen < latest) & (before[chosen] < int(rank.max(initial=-1)))
    own = np.isin(chosen, turned.decision.positions) | later
    if not own.any():
        gone = np.flatnonzero((before >= 0) != (after >= 0))
        if np.isin(gone, turned.decision.positions).any():
            return without("dropped")
        return without("none")
    chosen, old, new = chosen[own], old[moved][own], new[moved][own]
    row = base.nll[before[chosen]]
    if (old > row + MIXED * (1 + np.abs(row))).any():  # a flag for a window may be charged with one of its tokens
        return Choice(turned, "paid", chosen, old, new)
    lower = old < new
    if old.sum() < new.sum() and lower.any():
        return Choice(turned, "lower", chosen, old, new)
    return Choice(turned, "higher", chosen, old, new)


def _charges(evidence: ScriptEvidence, other: Pass) -> tuple[Ints, Floats, Floats, NDArray[np.bool_]]:
    """Targets that two runs charge, int64 [k]; what each charges, nats; where these differ by more than rounding."""
    base, tokens = evidence.main, evidence.base.tokens
    assert base is not None
    before, after = base.rank(tokens), other.rank(tokens)
    both = np.flatnonzero((before >= 0) & (after >= 0))
    old, new = base.charged[before[both]], other.charged[after[both]]
    with np.errstate(invalid="ignore"):
        moved = (old != new) & ~(np.abs(new - old) <= np.maximum(evidence.tolerance, MIXED * (1 + np.abs(old))))
    return both, old, new, moved

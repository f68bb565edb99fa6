"""causality: replace tokens under the running script; predictions that were made before must not change.

Forked flips replace tokens at the start of the headline pass, flips of whole runs on disk. Rows are compared in the
script's own order of processing; where that is not the stream's order, single-pass says so. All of this is done at a
tiny size, and then in one pass at the submitted sequence length, where blocks, masks and chunk ends are as submitted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.audit.causality import CHECK, INFINITE, NO_CONTROL, TOO_NOISY, clean, leak, noisy
from harness.record import Finding, Status, Value, Witness
from harness.scripts.checks import choosing, followed
from harness.scripts.checks.comparing import Comparison, own_rows
from harness.scripts.checks.evidence import AT_LENGTH, COUNTERFACTUAL, RECURS, Flip, ScriptEvidence, counterpart, found

_AFFECTED = 20

NOT_COVERED = [
    "leaks that act only at positions where no token was replaced, or only after more text or training than here",
    "rows that are causal but not a distribution (normalization)",
    "text that the artifact brings along (its training data were the harness's own)",
    "what needs a token to come again: a bias per token that a few steps fit",
]
_COUNTS = "counts of tokens that come again (here every token occurs once)"

_UNTRAINED = "what weights do only once they are trained: no optimizer step was made"

Made = tuple[Flip, Comparison]


def check(evidence: ScriptEvidence) -> Finding:
    """FAIL with a witness when a row moved that must not; INCONCLUSIVE where flips had no teeth or lost the loss."""
    problem = followed.why_not(evidence)
    flips = list(evidence.flips)
    if evidence.main is None:
        return found(
            evidence,
            CHECK,
            Status.INCONCLUSIVE,
            problem or "no pass over the validation stream was found",
            not_covered=["everything: no row was seen"],
        )
    if not flips and evidence.recurring is None and (evidence.at_length is None or evidence.at_length.shown is None):
        return found(
            evidence,
            CHECK,
            Status.NOT_RUN,
            "no test with other text was made",
            not_covered=["no test with other text was made"],
        )
    made = compared(evidence, flips)
    forked = [item for item in made if item[0].scope == "pass"]
    whole = [item for item in made if item[0].scope == "run"]
    leaking = leaks_of(evidence, made)
    counted = evidence.recurring.compared() if evidence.recurring is not None else []
    if not leaking and not evidence.base.ledger(evidence.main).before.any():
        leaking = [item for item in counted if leaks(evidence, item[1])]
    toothless = [item for item in made if item[1].aligned and not item[1].control]
    rows = sum(item[1].compared for item in made)
    own = sum(_own_rows(evidence, *item) for item in made)
    power: dict[str, Value] = {
        "probes_planned": len(flips),
        "probes_made": len(made),
        "probes_in_whole_runs": len(whole),
        "probes_with_control": sum(bool(item[1].control) for item in made),
        **({"recurring_probes": len(counted)} if counted else {}),
        **({"recurring_rows": sum(item[1].compared for item in counted)} if counted else {}),
        "rows_compared": rows,
        "own_rows_compared": own,
        "noise_floor": evidence.tolerance,
    }
    metrics: dict[str, Value] = {**followed.facts(evidence)}
    figures = {"flips": _figure(evidence, made)} if made else {}
    switched = leaking and all(item[1].switched for item in leaking) and choosing.paid(evidence)
    if leaking and not switched and not evidence.blurred:
        return _leak(evidence, leaking, len(made) + len(counted), bool(forked), metrics, power, figures)
    long = _at_length(evidence, power)
    blurred = _blurred(evidence, leaking)
    if long is not None and not leaking and (there := leaks_of(long, compared(long, list(long.flips)))):
        blurred = _blurred(long, there)
        if not blurred and not all(item[1].switched for item in there):
            return _leak(long, there, len(long.flips), True, metrics, power, figures)
    metrics["rows_moved_before"] = 0
    strayed = sum(not item[1].aligned for item in made)
    not_covered = [*NOT_COVERED, *([] if counted else [_COUNTS]), *([] if evidence.base.steps else [_UNTRAINED])]
    if evidence.recurring is not None and (crossed := evidence.recurring.crossed(evidence.tolerance)):
        metrics["rows_crossed"] = crossed
        not_covered.append("whether counts in stream order go with adaptation in another order: no rule says")
    if not forked:
        not_covered.append("single tokens, and batches one by one: only whole runs on changed text were made")
    if evidence.at_length is not None and evidence.at_length.why:
        not_covered.append(_said_at_length(evidence).removeprefix("; "))
    missing = unmade(flips, made)
    missed = f"{len(missing)} of {len(flips)} planned tests with other text were not made: " if missing else ""
    missed += why_unmade(missing[0]) if missing else ""
    if missed:
        not_covered.append(missed)
    recurs = evidence.not_made("recurring", "substituted")
    rounding = max([item[0].rounding for item in made], default=0.0)
    if rounding:
        metrics["rounding_seen"] = rounding
        not_covered.append(f"leaks that move rows by less than {rounding:.3g} nats: as much was seen to be rounding")
    if blurred:
        status, headline = Status.INCONCLUSIVE, blurred
    elif switched:
        status = Status.INCONCLUSIVE
        headline = f"which of two losses is charged depends on later tokens, and no row does: {switched}"
    elif problem:
        status, headline = Status.INCONCLUSIVE, f"no prediction changed, but {problem}"
    elif not made:
        status, headline = (
            Status.INCONCLUSIVE,
            f"no token could be replaced in the headline pass: {why_unmade((missing or flips)[0])}",
        )
    elif strayed:
        status = Status.INCONCLUSIVE
        headline = (
            f"{strayed} of {len(made)} tests changed which positions are scored first; the predictions do not compare"
        )
    elif len(toothless) == len(made):
        status, headline = Status.INCONCLUSIVE, NO_CONTROL
    elif evidence.noise > TOO_NOISY:
        status, headline = Status.INCONCLUSIVE, noisy(evidence.noise)
    elif missed or recurs:
        status = Status.INCONCLUSIVE
        what = missed or f"a planned run {RECURS} was not made: {recurs}"
        headline = f"no prediction changed in the {len(made)} tests with other text that were made, but {what}"
    else:
        status = Status.PASS
        among = f"; {own:,} rows of replaced tokens, too" if own else ""
        headline = clean(len(made), rows, len(made) - len(toothless), f" of the {evidence.main.name} pass", among)
        if rounding:
            several = sum(item[0].rounding > 0 for item in made)
            headline += f"; changes of up to {rounding:.3g} nats in {several} of them are rounding, and none in float64"
        headline += _said_at_length(evidence)
    return found(
        evidence, CHECK, status, headline, metrics=metrics, power=power, not_covered=not_covered, figures=figures
    )


def leaks_of(evidence: ScriptEvidence, made: list[Made]) -> list[Made]:
    """The flips that show a leak of the pass; whole runs only where nothing was trained on before it."""
    assert evidence.main is not None
    forked = [item for item in made if item[0].scope == "pass"]
    found = [item for item in forked if leaks(evidence, item[1])]
    if not found and (not forked or not evidence.base.ledger(evidence.main).before.any()):
        whole = (item for item in made if item[0].scope == "run")
        found = [item for item in whole if leaks(evidence, item[1]) and not choosing.explains(evidence, item[0])]
    return found


def _blurred(evidence: ScriptEvidence, leaking: list[Made]) -> str | None:
    """A sentence where rows moved so little that it may be rounding, and nothing told which; else None."""
    if not leaking or not evidence.blurred:
        return None
    size = max(size_of(evidence, result) for _, result in leaking)
    return (
        f"in {len(leaking)} tests with other text predictions changed that must not, by at most {size:.3g} nats, which "
        f"rounding can do, too; in float64, where rounding vanishes, the script does not tell: {evidence.blurred}"
    )


def caught(evidence: ScriptEvidence) -> bool:
    """Whether the flips of the tiny runs show a leak."""
    return evidence.main is not None and bool(leaks_of(evidence, compared(evidence, list(evidence.flips))))


def _at_length(evidence: ScriptEvidence, power: dict[str, Value]) -> ScriptEvidence | None:
    """What the pass at the submitted length shows, if anything; its numbers go into `power`."""
    made = evidence.at_length
    if made is None:
        return None
    results = compared(made.shown, list(made.shown.flips)) if made.shown is not None else []
    power["length_window"] = made.window
    power["length_probes"] = 0 if made.why else len(results)
    power["length_rows"] = 0 if made.why else sum(result.compared for _, result in results)
    return made.shown


def _said_at_length(evidence: ScriptEvidence) -> str:
    """A clause on the submitted length; empty where the tiny runs have it."""
    made = evidence.at_length
    if made is None:
        return ""
    where = f"; {AT_LENGTH} of {made.window:,} tokens"
    if made.why or made.shown is None:
        return f"{where}: not shown, because {made.why}"
    return f"{where} none either, in {len(made.shown.flips)} tests"


def compared(evidence: ScriptEvidence, flips: list[Flip]) -> list[Made]:
    """The flips that took place, each with what it did to the headline pass."""
    made = []
    for flip in flips:
        if flip.edited == 0:
            continue
        result = evidence.compared(flip)
        if result is not None:
            made.append((flip, result))
    return made


def _own_rows(evidence: ScriptEvidence, flip: Flip, result: Comparison) -> int:
    """Own rows of replaced tokens that a flip compared: the first one exactly, others with the rows beside them."""
    main, other = evidence.main, counterpart(evidence.base, flip.trace) if flip.trace is not None else None
    if flip.variant.kind != "swap" or len(flip.variant.replaced) == 1 or main is None or other is None:
        return int(result.own is not None)
    return int(np.isfinite(own_rows(main, other, flip.variant.mask(evidence.base.tokens)).beside).sum())


def unmade(flips: list[Flip], made: list[Made]) -> list[Flip]:
    """The flips that were planned and left nothing to compare."""
    there = {id(flip) for flip, _ in made}
    return [flip for flip in flips if id(flip) not in there]


def why_unmade(flip: Flip) -> str:
    """Why a planned flip left nothing to compare, one clause."""
    if flip.edited == 0:
        return "no live copy of the validation tokens was found to edit"
    return flip.error or "the run did not get to the pass"


def leaks(evidence: ScriptEvidence, result: Comparison) -> bool:
    """Whether a row moved that must not. Runs that do not line up say nothing."""
    if not result.aligned:
        return False
    return bool(result.moved(evidence.tolerance)) or result.own_moved(max(COUNTERFACTUAL, evidence.tolerance))


def size_of(evidence: ScriptEvidence, result: Comparison) -> float:
    """The largest change that must not be, nats."""
    own = min(result.own_change, INFINITE)
    return max(min(result.largest, INFINITE), own if result.own_moved(COUNTERFACTUAL) else 0.0)


def witness(evidence: ScriptEvidence, flip: Flip, result: Comparison) -> Witness:
    """What was replaced and what moved, enough to do it again."""
    main = evidence.main
    assert main is not None
    moved = result.moved(evidence.tolerance)
    own = result.own_moved(max(COUNTERFACTUAL, evidence.tolerance))
    rows = moved[:_AFFECTED]
    data: dict[str, Any] = {
        "scope": flip.scope,
        "position": flip.variant.position,
        "replaced": _runs([int(p) for p in flip.variant.replaced]),
        "pass": main.name,
        "place": main.scored_at,
        "reported at": main.place,
        "tolerance": evidence.tolerance,
        "affected": [{"position": p, "before": _nats(b), "after": _nats(a)} for p, b, a in rows],
        **({"trained": _runs([int(p) for p in flip.variant.trained])} if len(flip.variant.trained) else {}),
        **({"text": flip.variant.why} if flip.variant.why in (RECURS, AT_LENGTH) else {}),
    }
    few = len(flip.variant.replaced)
    which = "everything processed from" if flip.variant.kind == "suffix" else "the single token at"
    if flip.variant.kind == "swap" and few > 1:
        which = f"{few} single tokens from"
    when = "as the pass began" if flip.scope == "pass" else "before the run began"
    if rows:
        position, before, after = rows[0]
        text = (
            f"with {which} position {flip.variant.position:,} replaced {when}, position {position:,}, which is scored "
            f"earlier, is charged {after:.6f} nats instead of {before:.6f}"
        )
    else:
        assert result.own is not None
        position, before, after = result.own
        text = (
            f"with {which} position {flip.variant.position:,} replaced {when}, its own row {_given(after)}, "
            f"and {_given(before)} when that token does not come"
        )
    if own and result.own is not None:
        data["own_row"] = {"position": result.own[0], "expected": _nats(result.own[1]), "charged": _nats(result.own[2])}
    return Witness(kind=flip.variant.kind, summary=text, data=data)


def _given(nll: float) -> str:
    """What a row says of a token."""
    return f"gives the new token {nll:.6f} nats" if np.isfinite(nll) else "thinks the new token impossible"


def _nats(nll: float) -> float | None:
    """For a record: None where a token is impossible."""
    return nll if np.isfinite(nll) else None


def _leak(
    evidence: ScriptEvidence,
    leaking: list[Made],
    made: int,
    forks_clean: bool,
    metrics: dict[str, Value],
    power: dict[str, Value],
    figures: dict[str, Any],
) -> Finding:
    flip, result = max(leaking, key=lambda item: (item[0].scope == "pass", size_of(evidence, item[1])))
    moved = [row for item in leaking for row in item[1].moved(evidence.tolerance)]
    reach = max(
        (abs(item[0].variant.position - p) for item in leaking for p, *_ in item[1].moved(evidence.tolerance)),
        default=0,
    )
    own = sum(item[1].own_moved(max(COUNTERFACTUAL, evidence.tolerance)) for item in leaking)
    metrics |= {
        "probes_that_leak": len(leaking),
        "rows_moved": len(moved),
        "own_rows_moved": own,
        "largest_change": size_of(evidence, result),
        "reach": reach,
    }
    several = flip.variant.kind == "suffix" or len(flip.variant.replaced) > 1
    seen = witness(evidence, flip, result)
    earlier = len(result.moved(evidence.tolerance))
    parts = [f"{earlier:,} earlier predictions"] if earlier else []
    if result.own_moved(max(COUNTERFACTUAL, evidence.tolerance)):
        parts.append("that of the token itself")
    tests = f"in {len(leaking)} of {made} tests"
    headline = leak(flip.variant.position, several, " and ".join(parts), size_of(evidence, result), tests)
    if flip.variant.why in (RECURS, AT_LENGTH):
        headline += f" ({flip.variant.why})"
    elif all(item[0].scope == "run" for item in leaking):
        headline += (
            " (they are used before the pass begins: tokens that are replaced after its beginning change nothing)"
            if forks_clean
            else " (only whole runs were made)"
        )
    return found(
        evidence,
        CHECK,
        Status.FAIL,
        headline,
        metrics=metrics,
        witness=seen,
        power=power,
        not_covered=["what the leak is worth at full size"],
        figures=figures,
    )


def _figure(evidence: ScriptEvidence, made: list[Made]) -> dict[str, Any]:
    probes = []
    for flip, result in made:
        status = "leak" if leaks(evidence, result) else "clean" if result.control else "no-control"
        changed = {p: abs(a - b) for p, b, a in result.moved(evidence.tolerance)[:60]}
        if result.own is not None and result.own_moved(max(COUNTERFACTUAL, evidence.tolerance)):
            changed[result.own[0]] = result.own_change
        later = {p: change for p, change in result.effects if p not in changed and p > flip.variant.position}
        both = {**changed, **dict(list(later.items())[:40])}
        probes.append(
            {
                "position": flip.variant.position,
                "kind": flip.variant.kind,
                "status": status,
                "changed": [[p, min(both[p], INFINITE)] for p in sorted(both)],
            }
        )
    return {
        "type": "flips",
        "title": "Which predictions changed when a token was replaced under the running script",
        "tokens": evidence.base.tokens,
        "probes": probes,
    }


def _runs(positions: list[int]) -> list[list[int]]:
    """Sorted positions as [first, past the last] runs."""
    runs: list[list[int]] = []
    for position in positions:
        if runs and runs[-1][1] == position:
            runs[-1][1] = position + 1
        else:
            runs.append([position, position + 1])
    return runs

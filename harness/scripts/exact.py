"""Whether what moved in a flip is rounding: the same flip with all arithmetic in float64.

Text that differs may change shapes, padding or the order of a sum, and with them the last bits of rows that it has
nothing to do with; layers behind make them larger. A change that small is held against the same runs in float64: what
is left of it there is a leak, what vanishes is rounding.
"""

from __future__ import annotations

import dataclasses

from harness.referee.comparator import ROUNDING, SMALL
from harness.scripts.checks import causality
from harness.scripts.checks.evidence import Flip, ScriptEvidence, counterpart
from harness.scripts.flips import failed, forked
from harness.scripts.play.running import Runner
from harness.scripts.trace import reading


def settle(runner: Runner, evidence: ScriptEvidence) -> None:
    """Hold small leaks against float64: `Flip.rounding` of those that vanish, `evidence.blurred` where that fails.

    Args:
        runner: of the runs.
        evidence: its flips are replaced by ones that know.
    """
    if evidence.main is None or runner.ranks > 1:
        return
    leaking = causality.leaks_of(evidence, causality.compared(evidence, list(evidence.flips)))
    sizes = {id(flip): causality.size_of(evidence, result) for flip, result in leaking}
    if not sizes or max(sizes.values()) >= SMALL:
        return
    most = max(sizes.values())
    runner.progress.note(f"again in float64: rows moved by at most {most:.3g} nats, which may be rounding")
    logs = runner.logs / "float64"
    logs.mkdir(exist_ok=True)
    script = dataclasses.replace(runner.script, exact=True)
    exact = dataclasses.replace(runner, script=script, logs=logs, spent={})
    why, left = _again(exact, evidence, [flip for flip, _ in leaking])
    seconds, peaks = zip(*exact.spent.values(), strict=True)
    runner.spent["float64"] = (round(sum(seconds), 2), max(peaks))
    evidence.blurred = why
    evidence.flips = [
        dataclasses.replace(flip, rounding=sizes[id(flip)]) if id(flip) in left and left[id(flip)] <= ROUNDING else flip
        for flip in evidence.flips
    ]


def _again(exact: Runner, evidence: ScriptEvidence, flips: list[Flip]) -> tuple[str | None, dict[int, float]]:
    """Why some of these flips cannot be told, None if all can; and by the others' ids what moved in float64, nats."""
    assert evidence.main is not None
    base = exact.play("base", exact.streams)
    read = reading.read(base.observed, evidence.base.tokens, exact.claimed)
    if counterpart(evidence.base, read) is None or read.main is None or read.main.place != evidence.main.place:
        return failed(base) or "the pass that counts was not made", {}
    there = dataclasses.replace(evidence, base=read, again=None, flips=(), at_length=None, recurring=None)
    inside = [flip for flip in flips if flip.scope == "pass"]
    whole = [flip for flip in flips if flip.scope == "run"]
    there.again, made, _ = forked(
        exact, read, base, [flip.variant for flip in inside], whole[0].variant if whole else None
    )
    left: dict[int, float] = {}
    for flip in flips:
        same = (one for one in made if one.scope == flip.scope and one.variant is flip.variant)
        result = next((there.compared(one) for one in same), None)
        if result is not None and result.aligned and result.control:
            left[id(flip)] = max(result.largest, result.own_change)
    missing = len(flips) - len(left)
    return (f"{missing} of {len(flips)} tests show nothing there" if missing else None), left

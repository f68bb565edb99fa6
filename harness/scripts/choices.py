"""Runs in which one decision by losses comes out the other way: what did it decide?

The script is played again on the same text, and a single comparison (minimum, index of the smallest ...) gives another
outcome than its numbers say. Charges that are others then were chosen by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from harness.scripts.checks.evidence import ScriptEvidence, Turned
from harness.scripts.play.running import Runner
from harness.scripts.trace import reading
from harness.scripts.trace.decided import Decision, decisions, whole

#: Decisions that are turned at one place, and in one audit; and of those between whole evaluations.
EACH = 2
MOST = 8
EVALUATIONS = 2


def plan(found: Sequence[Decision], seed: int) -> list[Decision]:
    """Which decisions to turn: every place's first one before any place's second.

    Places where losses are compared with each other come first. At one place the decisions are spread over the run, and
    those of few targets come before those of many: what they chose is told apart best.
    """
    rng = np.random.default_rng((seed, 5))
    sites: dict[tuple[str, str], list[Decision]] = {}
    for decision in found:
        sites.setdefault(decision.site, []).append(decision)
    rounds: list[list[Decision]] = [[] for _ in range(EACH)]
    for one in sorted(sites.values(), key=lambda made: (not made[0].rivals, not made[0].varied, made[0].seq)):
        few = np.median([len(decision.positions) for decision in one])
        near = [decision for decision in one if len(decision.positions) <= few]
        near = near[len(near) // 4 :]  # the first ones often have nothing to go by yet
        for chosen, part in zip(rounds, np.array_split(np.arange(len(near)), EACH), strict=True):
            if len(part):
                chosen.append(near[int(rng.choice(part))])
    return [decision for chosen in rounds for decision in chosen][:MOST]


def gather(runner: Runner, evidence: ScriptEvidence, seed: int) -> tuple[Turned, ...]:
    """The runs, two at a time, until one shows a choice that no distribution makes.

    Args:
        runner: plays the script.
        evidence: with the base run, which has a pass.
        seed: of the choice among decisions.
    """
    assert evidence.main is not None
    planned = plan(decisions(evidence.base, evidence.main), seed)
    planned += list({made.site: made for made in whole(evidence.base, evidence.main)}.values())[-EVALUATIONS:]
    if planned:
        runner.progress.note(f"{len(planned)} runs in which one decision by losses comes out the other way")
    made: list[Turned] = []
    with ThreadPoolExecutor(2) as pool:
        for first in range(0, len(planned), 2):
            pair = list(enumerate(planned[first : first + 2], first))
            made += pool.map(lambda item: turned(runner, evidence, item[1], f"turned-{item[0]}"), pair)
    return tuple(made)


def turned(runner: Runner, evidence: ScriptEvidence, decision: Decision, name: str) -> Turned:
    """One such run."""
    played = runner.play(name, runner.streams, turn=decision.told)
    read = reading.read(played.observed, evidence.base.tokens)
    ended = str(played.observed.facts.get("ended", ""))
    error = None if ended == "ok" else f"{ended}: {played.observed.facts.get('error', '')}"[:300]
    if error is None and not played.observed.facts.get("turned"):
        error = "the script did not come by that place as often as before"
    return Turned(decision, read, error)

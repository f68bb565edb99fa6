"""What is played of a script follows from the checks that are asked for: counted on a runner that plays no box."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import rules
from harness.gate.stages import QUICK, SCRIPT_SMOKE
from harness.sandbox.box import Exit, Level
from harness.scripts.checks import judging
from harness.scripts.collect import ScriptOptions, gather
from harness.scripts.play import streams
from harness.scripts.play.running import LIMITS, Forked, Playable, Played, Runner
from harness.scripts.trace.observed import Observed
from tests.scripts.handmade import Story

STREAMS = streams.make(2048, 500, seed=3)
N = len(STREAMS.validation)
LEVEL = Level("native", True, True, True, True, "")
EXIT = Exit("ok", 0, None, 0, 1, 0.0, 0.0, "")
COUNTS = Playable("train_gpt.py", "ngram, ngram and ngram")
PLAIN = Playable("train_gpt.py", "print()")


def observed(*, mixture: bool, edited: bool = False) -> Observed:
    """A run that scores everything once; of a mixture, charges are half of what rows give."""
    story = Story()
    if edited:
        story.facts["edited"] = {"tokens": 1}
    atoms = np.concatenate([story.score(range(start, min(start + 32, N)), 8.5) for start in range(1, N, 32)])
    charges = np.where(np.arange(len(atoms)) % 2, 4.0, 8.5) if mixture else None
    value = story.report(atoms, charged=charges, place="train_gpt.py:4 final")
    story.say(f"final val_loss:{value:.8f}")
    return story.observed()


@dataclass(frozen=True)
class Counting(Runner):
    """Plays nothing: gives back the same run every time, and keeps what was asked for."""

    mixture: bool = False
    reaches: bool = True
    played: list[str] = field(default_factory=list)
    forked: list[int] = field(default_factory=list)

    def play(self, name: str, streams: Any, forks: Any = None, **more: Any) -> Played:
        self.played.append(name)
        made = observed(mixture=self.mixture, edited=self.reaches)
        children = [Forked(one.name, point.event, made, "") for point in forks or [] for one in point.edits]
        if more.get("more"):
            children += [Forked(one.name, 0, made, "") for one in more["more"](children)]
        self.forked.append(len(children))
        return Played(observed(mixture=self.mixture), children, LEVEL, EXIT, 0.0, 0)


def counting(script: Playable, *, mixture: bool = False, ranks: int = 1) -> Counting:
    return Counting(script, STREAMS, LIMITS, "none", Path(), ranks, mixture=mixture)


def runs(options: ScriptOptions, script: Playable = PLAIN, *, mixture: bool = False, ranks: int = 1) -> list[str]:
    runner = counting(script, mixture=mixture, ranks=ranks)
    gather(runner, rules.load(), options.needs)
    return sorted(runner.played)


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        (("determinism",), ["again", "base"]),
        (("single-pass", "isolation", "byte-accounting"), ["base"]),
        (("claims",), ["base"]),  # of the papers
        (("null-stream",), ["base"]),  # the base run's own text has a known entropy
        (("normalization",), ["base"]),
        (("score-before-update",), ["base", "forked"]),
        (("determinism", "score-before-update"), ["base", "forked"]),  # the forked run is the second one
        (("artifact-independence",), ["base", "changed", "forked"]),
        (("warm-up",), ["base", "changed", "forked"]),
        (("causality",), ["base", "changed", "forked"]),
        (None, ["base", "changed", "forked"]),
    ],
)
def test_no_more_is_played_than_the_checks_need(checks: tuple[str, ...] | None, expected: list[str]) -> None:
    assert runs(ScriptOptions(checks=checks)) == expected


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        (("determinism",), ["again", "base"]),
        (("single-pass",), ["base"]),
        (("null-stream",), ["base", "null"]),
        (("normalization",), ["base", "recurring"]),
        (("causality",), ["base", "changed", "forked", "recurring"]),
        (None, ["base", "changed", "forked", "null", "recurring"]),
    ],
)
def test_a_mixture_with_counts_is_played_on_more_text_where_that_is_needed(
    checks: tuple[str, ...] | None, expected: list[str]
) -> None:
    assert runs(ScriptOptions(checks=checks), COUNTS, mixture=True) == expected


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        (("determinism",), ["again", "base"]),
        (("single-pass",), ["base"]),
        (("causality",), ["again", "base", "changed-0", "changed-1", "changed-2"]),
        (None, ["again", "base", "changed-0", "changed-1", "changed-2"]),
    ],
)
def test_several_ranks_are_never_forked(checks: tuple[str, ...] | None, expected: list[str]) -> None:
    assert runs(ScriptOptions(checks=checks), ranks=2) == expected


def test_the_gates_quick_tier_is_one_run() -> None:
    options = ScriptOptions(checks=SCRIPT_SMOKE, most=frozenset(QUICK))
    assert runs(options, COUNTS, mixture=True) == ["base"]
    assert runs(ScriptOptions(checks=SCRIPT_SMOKE), COUNTS, mixture=True) == ["base", "forked", "recurring"]
    assert {"normalization", "score-before-update", "single-pass"} <= set(SCRIPT_SMOKE)
    assert not {"determinism", "causality", "artifact-independence"} & set(SCRIPT_SMOKE)


def test_what_is_played_for_one_check_is_what_is_played_for_it_among_all() -> None:
    """A flip that only a whole run needs is forked only where there is a whole run."""
    for checks in (("causality",), ("artifact-independence",), None):
        runner = counting(PLAIN)
        gathered = gather(runner, rules.load(), ScriptOptions(checks=checks).needs)
        kinds = [(flip.scope, flip.variant.kind, flip.variant.position) for flip in gathered.evidence.flips]
        assert kinds[-1][:2] == ("run", "suffix") and ("pass", *kinds[-1][1:]) in kinds
        assert sum(runner.forked) == len(kinds)  # one changes nothing, and one flip is a whole run
        assert [found.id for found in judging.judge(gathered.evidence, checks)][:1] == [(checks or ["determinism"])[0]]


def test_tokens_that_a_running_script_holds_no_copy_of_are_replaced_on_disk() -> None:
    """As many tests as were planned, each in a run of its own; the one that has a run anyway is not made twice."""
    runner = Counting(PLAIN, STREAMS, LIMITS, "none", Path(), reaches=False)
    flips = gather(runner, rules.load(), ScriptOptions().needs).evidence.flips
    plain = gather(counting(PLAIN), rules.load(), ScriptOptions().needs).evidence.flips
    planned = {(flip.variant.kind, flip.variant.position) for flip in plain}
    made = [(flip.variant.kind, flip.variant.position) for flip in flips]
    assert sorted(made) == sorted(planned) and all(flip.scope == "run" for flip in flips if flip.edited is None)
    assert runner.played.count("changed") == 1 and len(runner.played) == 2 + len(planned)

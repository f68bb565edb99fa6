"""What a run tells of branches, read without playing anything: where it says too little, nothing passes."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import pytest

from harness import rules
from harness.record import Status
from harness.scripts import asleep
from harness.scripts.checks import coverage
from harness.scripts.checks.evidence import ScriptEvidence
from harness.scripts.trace.branches import branches
from harness.scripts.trace.reading import read
from tests.scripts.handmade import Story

TOKENS = 65
#: The evaluation in a function, or at the module's level; each waits for something that the run never showed.
IN_A_FUNCTION = """
def eval_val(val, model):
    charged = model(val)
    if charged.max() > 1000:
        charged = charged.flip(0)
    return charged
"""
AT_MODULE_LEVEL = """
val_tokens = load_val_tokens()
charged = model(val_tokens)
if charged.max() > 1000:
    charged = charged.flip(0)
"""
#: main() makes the pass all along and began long before; the flag that it sets has a history.
SET_ON_THE_WAY = """
def main(val, model):
    model.late = False
    for chunk in val.split(64):
        if model.late:
            chunk = chunk.flip(0)
        model.late = chunk.max() > 1000
"""


def looked(source: str, place: str, **facts: Any) -> asleep.Sleep:
    """The last branch of the source came by in the pass, and its first arm never ran."""
    story = Story()
    story.report(story.score(range(1, TOKENS), 2.0, place=place), place=place)
    story.say("final val_loss:2.0000 val_bpb:1.0000")
    known = branches(ast.parse(source))
    (number,) = [one.number for one in known if isinstance(one.node, ast.If)]
    row = {"file": "train_gpt.py", "number": number, "first": 1, "last": 1, "ran": 0, "filled": 0}
    told = {"branches": [row], "functions": [], "watched": {"tests": 4, "branches": 1, "functions": 0, "unwatched": 0}}
    story.facts |= told | facts
    trace, text = (
        read(story.observed(), TOKENS),
        asleep.Text({"train_gpt.py": source}, {}, {}, frozenset(), (), (64, 40_000_000)),
    )
    assert trace.main is not None
    return asleep.look(story.observed(), trace.main, text)


@pytest.mark.parametrize(
    ("source", "place", "test"),
    [
        (IN_A_FUNCTION, "train_gpt.py:3 eval_val < main:9", "charged.max() > 1000"),
        (AT_MODULE_LEVEL, "train_gpt.py:3 <module>", "charged.max() > 1000"),
        (SET_ON_THE_WAY, "train_gpt.py:5 main < <module>:9", "model.late"),
    ],
)
def test_an_arm_that_works_on_the_text_sleeps_wherever_it_stands(source: str, place: str, test: str) -> None:
    (one,) = looked(source, place).asleep
    assert one.test == test and one.wanted and one.threshold is None


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"watched": {}}, "no branch of the script's files was seen"),
        ({"watched": {"tests": 4, "branches": 1, "functions": 0, "unwatched": 2}}, "2 of the script's files could not"),
        ({"watched": {"tests": 4, "branches": 2001, "functions": 0}}, "more branches than a run can tell"),
    ],
)  # fmt: skip
def test_what_was_not_watched_is_no_pass(facts: dict[str, Any], says: str) -> None:
    sleep = looked(IN_A_FUNCTION, "train_gpt.py:3 other < main:9", **facts)
    assert says in sleep.unknown
    found = judged(asleep.Sleep((), sleep.watched, sleep.met, sleep.unknown))
    assert found.status == Status.INCONCLUSIVE and says in found.headline


def test_what_ran_is_a_pass_with_its_count() -> None:
    found = judged(asleep.Sleep((), 4, 1))
    assert found.status == Status.PASS and found.value("branches_watched") == 4


def judged(sleep: asleep.Sleep) -> Any:
    story = Story()
    story.report(story.score(range(1, TOKENS), 2.0))
    story.say("final val_loss:2.0000 val_bpb:1.0000")
    evidence = ScriptEvidence(rules.load(), np.array([0]), read(story.observed(), TOKENS), 5120, sleep=sleep)
    return coverage.check(evidence)

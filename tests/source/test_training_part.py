"""What training reads of a submission: a change of the evaluation leaves it, a change of anything else does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.source.training_part import TrainingPart, asked_for, training_part

ROOT = Path(__file__).resolve().parent.parent.parent
CALLED = asked_for((ROOT / "harness" / "kit" / name).read_bytes() for name in ("submission.py", "worker.py"))

CODE = '''"""A submission."""

import torch
from torch import nn

from harness.kit import Submission, TrainConfig
from harness.kit.slot import SlotConfig, context_delta

WIDTH = 48
STEPS = 3


class Cache(nn.Module):
    """Only the evaluation has one."""

    size = 4

    def forward(self, rows):
        return rows


def blend(rows):
    return rows * STEPS


class Mine(Submission):
    slot = SlotConfig(steps=8, lr=0.005)
    stride = 16

    def train_config(self):
        return TrainConfig(steps=WIDTH)

    def evaluate(self, model, stream):
        cache = Cache()
        self._score(model, stream, cache, self.slot)

    def _score(self, model, stream, cache, slot):
        stream.score(blend(context_delta(model, cache)))
'''


def part(code: str, **others: str) -> TrainingPart:
    files = {"submission.py": code.encode(), **{f"{name}.py": text.encode() for name, text in others.items()}}
    return training_part(files, CALLED)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("steps=8", "steps=16"),
        ("STEPS = 3", "STEPS = 4"),
        ("return rows * STEPS", "return rows / STEPS"),
        ("return rows\n", "return 2 * rows\n"),
        ("size = 4", "size = 5"),
        ("cache = Cache()", "cache = Cache().eval()"),
        ("        stream.score(", "        torch.manual_seed(1)\n        stream.score("),
        ("import torch\n", "import math\nimport torch\n"),
        ('"""A submission."""', '"""Other words."""'),
        ("context_delta\n", "context_delta, scored_delta\n"),
        ("def evaluate(", "@torch.no_grad()\n    def evaluate("),
    ],
)
def test_what_only_the_evaluation_uses_may_change(old: str, new: str) -> None:
    assert CODE.count(old) == 1
    before, after = part(CODE), part(CODE.replace(old, new))
    assert before.sha256 == after.sha256 and not after.why and "evaluate" in after.left_out


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("WIDTH = 48", "WIDTH = 49"),
        ("steps=WIDTH", "steps=WIDTH + 1"),
        ("stride = 16", "stride = 32"),  # the kit reads it while it trains
        (
            "    def train_config",
            "    def build_model(self, vocab_size):\n        return Cache()\n\n    def train_config",
        ),
        ("        return TrainConfig(steps=WIDTH)", "        return TrainConfig(steps=STEPS)"),
        (
            "class Mine(Submission):\n",
            "class Mine(Submission):\n    def __init__(self, scale):\n        self.scale = scale\n\n",
        ),
    ],
)
def test_what_training_reads_may_not(old: str, new: str) -> None:
    assert CODE.count(old) == 1
    assert part(CODE).sha256 != part(CODE.replace(old, new)).sha256


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        return TrainConfig(steps=WIDTH)", "        return TrainConfig(steps=len(open(__file__).read()))"),
        (
            "        return TrainConfig(steps=WIDTH)",
            "        return TrainConfig(steps=getattr(self, 'sl' + 'ot').steps)",
        ),
        ("        return TrainConfig(steps=WIDTH)", "        import inspect\n        return TrainConfig(steps=WIDTH)"),
        ("        return TrainConfig(steps=WIDTH)", "        return TrainConfig(steps=WIDTH, hook=self.evaluate)"),
        ("        return TrainConfig(steps=WIDTH)", "        return TrainConfig(steps=vars(self)['x'])"),
        ("    def evaluate(", "    @registered\n    def evaluate("),
        ("def evaluate(self, model, stream)", "def evaluate(self, model, stream, draw=torch.rand(1))"),
        ("class Mine(Submission):", "class Mine(Other):"),
        ("import torch\n", "import torch\nfrom harness.kit.config import *\n"),
        ("import torch\n", "import torch\n("),
    ],
)
def test_where_it_cannot_be_told_everything_counts(old: str, new: str) -> None:
    assert CODE.count(old) == 1
    doubtful = CODE.replace(old, new)
    found = part(doubtful)
    assert found.why and not found.left_out
    assert found.sha256 != part(doubtful.replace("return rows * STEPS", "return rows / STEPS")).sha256


def test_a_helper_that_training_uses_too_is_not_left_out() -> None:
    shared = CODE.replace("steps=WIDTH", "steps=blend(WIDTH)")
    changed = shared.replace("return rows * STEPS", "return rows / STEPS")
    assert part(shared).sha256 != part(changed).sha256
    assert part(shared).sha256 != part(shared.replace("STEPS = 3", "STEPS = 4")).sha256
    assert part(shared).sha256 == part(shared.replace("steps=8", "steps=9")).sha256


def test_other_files_count_whole_and_what_they_mention_is_read() -> None:
    assert part(CODE).sha256 != part(CODE, helper="x = 1").sha256 != part(CODE, helper="x = 2").sha256
    mentions = part(CODE.replace("STEPS = 3", "STEPS = 4"), helper="from submission import STEPS").sha256
    assert mentions != part(CODE, helper="from submission import STEPS").sha256


def test_a_submission_without_an_evaluation_of_its_own_may_get_one() -> None:
    bare = "from harness.kit import Submission\n\n\nclass Mine(Submission):\n    pass\n"
    scored = bare.replace("    pass\n", "    pass\n\n    def evaluate(self, model, stream):\n        stream.close()\n")
    assert part(bare).sha256 == part(scored).sha256 and not part(bare).why

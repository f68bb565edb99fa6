"""Which switches are a question, and which the folder answers: reading alone, nothing is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import rules
from harness.scripts.opening import open_script
from harness.scripts.settings import claimed
from harness.scripts.settings.submitted import read_settings
from harness.scripts.settings.unstated import Unstated, unstated
from harness.scripts.settings.words import statements

HEAD = """
import os
class Hyperparameters:
    slot_lr = float(os.environ.get("SLOT_LR", 0.01))
    slot_steps = int(os.environ.get("SLOT_STEPS", 24))
    block_mean = bool(int(os.environ.get("BLOCK_MEAN", "0")))
    ttt_optimizer = os.environ.get("TTT_OPTIMIZER", "adam")
    mode = os.environ.get("EVAL_MODE", "plain")
    stride = int(os.environ.get("EVAL_STRIDE", 0))
    late_qat = bool(int(os.environ.get("QAT_ENABLED", "0")))
SLOT = bool(int(os.environ.get("SLOT_ENABLED", "0")))
args = Hyperparameters()
def adapt(model, x, y):
    for _ in range(args.slot_steps):
        loss = model(x, y) * args.slot_lr
        loss.backward()
def log(text):
    print(text)
def train(model, steps):
    for step in range(steps):
        if args.late_qat:
            model.quantize()
def evaluate(model, val_tokens, label="final_sliding_window"):
    loss = bpb = 1.0
    for x in val_tokens:
        if BODY:
            adapt(model, x, x)
        loss += model(x)
    log(f"{label} val_loss:{loss:.4f} val_bpb:{bpb:.4f} eval_time:{1000:.0f}ms")
val_tokens = []
train(model, 5)
"""
PLAIN = HEAD.replace("BODY", "SLOT") + "evaluate(model, val_tokens)\n"
LABELLED = (
    HEAD.replace("BODY", "label == 'final_slot'")
    + "evaluate(model, val_tokens)\nif SLOT:\n    evaluate(model, val_tokens, label='final_slot')\n"
)
LOG = """seed:1
slot_off_header:1
step:100/100 val_loss:2.0 val_bpb:1.3 train_time:600000ms step_avg:6000.00ms
final_sliding_window val_loss:1.9000 val_bpb:1.2345 eval_time:80000ms
"""
SPOKEN = "# Small\n\n## Method\n\n* SLOT: 24 steps at lr 0.01 before each batch is scored.\n"


def asked(folder: Path, readme: str = "# Small\n", code: str = PLAIN, log: str = "", **env: str) -> list[Unstated]:
    """The switches that are a question in a folder with these files."""
    folder = folder / "small"
    folder.mkdir()
    (folder / "train_gpt.py").write_text(code)
    (folder / "README.md").write_text(readme)
    (folder / "submission.json").write_text(json.dumps({"name": "Small", "val_bpb": 1.2345}))
    if log:
        (folder / "train.log").write_text(log)
    script = open_script(folder)
    case = claimed.case_of(script, rules.load())
    claim = claimed.find(case)
    return list(unstated(script, read_settings(script, env, claim), case, claim))


@pytest.mark.parametrize(
    "readme",
    [
        SPOKEN,
        "# SLOT and a small model\n",
        "# Small\n\n| Setting | Value |\n|---|---|\n| SLOT steps | 24 |\n",
        "# Small\n\nThe run sets `SLOT_ENABLED=1`.\n",
        "# Small\n\nScored with SLOT\n(24 steps, as in #1128).\n",
    ],
    ids=["a list item", "the title", "a table", "its name in prose", "a sentence over two lines"],
)
def test_words_make_a_switch_a_question(tmp_path: Path, readme: str) -> None:
    (found,) = asked(tmp_path, readme)
    assert (found.name, found.default, found.other) == ("SLOT_ENABLED", "0", "1")
    assert found.read_at == "train_gpt.py:11" and found.guards == "train_gpt.py:26" and found.test == "SLOT"
    assert found.evidence[0].startswith("README.md:")


def test_a_log_that_shows_settings_of_the_technique_makes_it_a_question(tmp_path: Path) -> None:
    (found,) = asked(tmp_path, log=f"Hyperparameters:\n  slot_lr: 0.02\n  slot_steps: 24\n{LOG}")
    assert found.name == "SLOT_ENABLED"
    assert found.evidence == ('train.log:2 "slot_lr: 0.02"', 'train.log:3 "slot_steps: 24"')


def test_an_evaluation_that_took_far_longer_than_the_sliding_pass_makes_it_a_question(tmp_path: Path) -> None:
    slow = "final_int8_roundtrip val_loss:1.8000 val_bpb:1.2345 eval_time:900000ms\n"
    log = LOG.replace("1.2345", "1.2500") + slow
    (found,) = asked(tmp_path / "slow" if (tmp_path / "slow").mkdir() is None else tmp_path, log=log)
    assert found.name == "SLOT_ENABLED" and "11.2 times as long" in found.evidence[0]
    for index, other in enumerate(
        (
            log.replace("900000ms", "90000ms"),
            log.replace("final_int8_roundtrip", "final_legal_ttt"),  # says why
            log.replace("final_int8_roundtrip", "final_sliding_s16").replace("sliding_window val", "sliding_s256 val"),
        )
    ):
        (tmp_path / str(index)).mkdir()
        assert asked(tmp_path / str(index), log=other) == []


def test_lines_that_only_guarded_code_prints_speak_and_their_lack_answers(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    printed = LOG + "final_slot val_loss:1.8000 val_bpb:1.2000 eval_time:90000ms\n"
    (found,) = asked(tmp_path / "a", code=LABELLED, log=printed)
    assert found.evidence[0].startswith('train.log:5 "final_slot val_loss')
    assert asked(tmp_path / "b", SPOKEN, code=LABELLED, log=LOG) == []  # the README against the log of a plain run


def test_a_number_that_a_guarded_line_shows_is_the_other_value(tmp_path: Path) -> None:
    code = (
        PLAIN + 'if args.stride > 0:\n    log(f"sliding with stride={args.stride}")\n    evaluate(model, val_tokens)\n'
    )
    (found,) = asked(tmp_path, code=code, log="sliding with stride=64\n" + LOG)
    assert (found.name, found.other) == ("EVAL_STRIDE", "64")


@pytest.mark.parametrize(
    "readme",
    [
        "# Small\n",
        "# Small\n\nSLOT is nice. The run has 600 seconds.\n",
        "# Small\n\nNo TTT, no SLOT, 600 seconds.\n",
        "# Small\n\n* SLOT: 24 steps gave 1.105.\n* SLOT is disabled here.\n",
        "# Small\n\nWe tried SLOT with 24 steps, and dropped it.\n",
        "# Small\n\nSLOT with 24 steps gave 1.105. It was dropped because nobody ruled on it.\n",
        "# Small\n\n## What did not help\n\n* SLOT, 24 steps: 1.105\n",
        "# Small\n\nThings that were tried:\n\n* SLOT, 24 steps: 1.105\n",
        SPOKEN + "\nRun with `SLOT_ENABLED=0`.\n",
        SPOKEN + "\n```bash\nSLOT_ENABLED=0 python train_gpt.py\n```\n",
        "# Small\n\nBlock means of 64 tokens are left to others. Late QAT from step 500, Adam 0.02, SGD 0.1.\n",
    ],
)
def test_what_is_denied_dropped_stated_or_not_spoken_of_is_no_question(tmp_path: Path, readme: str) -> None:
    assert asked(tmp_path, readme) == []


def test_what_log_or_override_state_is_no_question(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    head = "class Hyperparameters:\n"
    inside = PLAIN.replace(head, head + '    slot = os.environ.get("SLOT_ENABLED", "0") == "1"\n')
    assert asked(tmp_path / "a", SPOKEN, code=inside, log=f"Hyperparameters:\n  slot: False\n{LOG}") == []
    assert asked(tmp_path / "b", SPOKEN, SLOT_ENABLED="0") == []
    assert asked(tmp_path / "c", SPOKEN, SLOT_ENABLED="1") == []


@pytest.mark.parametrize(
    "code",
    [
        PLAIN.replace("        if SLOT:", "        if not SLOT:\n            continue\n        if x:"),
        PLAIN.replace("if SLOT:", "if use:").replace("for x in", "use = SLOT and args.slot_steps > 0\n    for x in"),
        PLAIN.replace("if SLOT:", "if helper is not None:").replace(
            "for x in", "helper = adapt if SLOT else None\n    for x in"
        ),
        PLAIN.replace("if SLOT:", "if on:").replace('"final_sliding_window")', '"final_sliding_window", on=False)')
        .replace("evaluate(model, val_tokens)", "evaluate(model, val_tokens, on=SLOT)"),
        PLAIN.replace("if SLOT:", "if getattr(args, 'slot', False):").replace("SLOT = ", "    slot = "),
        PLAIN.replace("if SLOT:", "if args.mode == 'slot':").replace("SLOT = ", "GONE = ").replace("SLOT_E", "GONE_E"),
    ],
    ids=["an exit", "a name", "a thing", "a parameter", "getattr", "a word"],
)  # fmt: skip
def test_a_switch_is_followed_to_what_it_guards(tmp_path: Path, code: str) -> None:
    assert len(asked(tmp_path, SPOKEN, code=code)) == 1


def test_statements_know_headings_and_begin_where_they_stand() -> None:
    text = "# A\n\nOne 1. Two\nthree.\n\n## What failed\n\n* four 4\n\n## B\n\n| five | 5 |\n"
    found = [(one.line, one.text, one.title, one.elsewhere) for one in statements(text, "README.md")]
    assert found == [
        (1, "A", True, False), (3, "One 1.", False, False), (3, "Two three.", False, False),
        (6, "What failed", False, True), (8, "* four 4", False, True), (10, "B", False, False),
        (12, "| five | 5 |", False, False),
    ]  # fmt: skip

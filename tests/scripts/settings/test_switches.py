"""What must be on for a script to print the label of the claimed score, and where nothing may be concluded."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from harness.scripts.opening import open_script
from harness.scripts.settings.claimed import Claim
from harness.scripts.settings.reads import find_reads
from harness.scripts.settings.submitted import read_settings
from harness.scripts.settings.switches import Switch, implied

HEAD = """
import os
class Hyperparameters:
    ttt_enabled = bool(int(os.environ.get("TTT_ENABLED", "0")))
    slot_enabled = os.environ.get("SLOT_ENABLED", "1") != "0"
    mode = os.environ.get("EVAL_MODE", "plain")
    stride = int(os.environ.get("EVAL_STRIDE", 64))
    epochs = int(os.environ.get("TTT_EPOCHS", 0))
args = Hyperparameters()
"""
LINE = 'print(f"legal_ttt val_loss:{loss:.4f} val_bpb:{bpb:.4f}")'
LABEL = "legal ttt"


def concluded(code: str, said: tuple[str, ...] = (), **values: str) -> dict[str, str]:
    """{name: value} that is concluded for HEAD and this code, where the rest is as the defaults are."""
    return {name: switch.value for name, switch in _implied(code, said, values).items()}


def _implied(code: str, said: tuple[str, ...], values: dict[str, str]) -> dict[str, Switch]:
    trees = [(None, ast.parse(HEAD + code))]
    reads = find_reads(trees).by_name()
    now = {name: read.default for name, read in reads.items()} | values
    return implied(trees, reads, now, {*said, *values}, {LABEL})


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        (f"if args.ttt_enabled:\n    {LINE}", {"TTT_ENABLED": "1"}),
        (f"if args.ttt_enabled and args.stride > 0 and rank == 0:\n    {LINE}", {"TTT_ENABLED": "1"}),
        (f"if not args.slot_enabled:\n    {LINE}", {"SLOT_ENABLED": "0"}),
        (f"if args.slot_enabled:\n    pass\nelse:\n    {LINE}", {"SLOT_ENABLED": "0"}),
        (f"if args.mode == 'legal':\n    {LINE}", {"EVAL_MODE": "legal"}),
        (f"if args.slot_enabled and not args.ttt_enabled:\n    pass\nelif args.ttt_enabled:\n    {LINE}",
         {"TTT_ENABLED": "1"}),
        (f"if os.environ.get('TTT_ENABLED', '0') == '1':\n    {LINE}", {"TTT_ENABLED": "1"}),
        (f"def f():\n    if not args.ttt_enabled:\n        return\n    {LINE}\nf()", {"TTT_ENABLED": "1"}),
        (f"def f():\n    {LINE}\nif args.ttt_enabled:\n    f()", {"TTT_ENABLED": "1"}),
        (f"do_ttt = args.ttt_enabled\nif do_ttt:\n    {LINE}", {"TTT_ENABLED": "1"}),
        ("if args.ttt_enabled:\n    timed('legal_ttt', f)", {"TTT_ENABLED": "1"}),
        (f"if args.ttt_enabled:\n    if args.mode == 'legal':\n        {LINE}",
         {"EVAL_MODE": "legal", "TTT_ENABLED": "1"}),
    ],
)  # fmt: skip
def test_conditions_around_the_label_say_what_was_set(code: str, wanted: dict[str, str]) -> None:
    assert concluded(code) == wanted


@pytest.mark.parametrize(
    "code",
    [
        LINE,
        f"if args.slot_enabled:\n    {LINE}",
        f"if args.ttt_enabled:\n    {LINE}\n{LINE}",
        f"if args.epochs > 0:\n    {LINE}",
        f"if args.ttt_enabled and args.epochs > 0:\n    {LINE}",
        "if args.ttt_enabled:\n    print(f'other val_loss:{loss:.4f} val_bpb:{bpb:.4f}')",
        f"if args.ttt_enabled:\n    {LINE}\nif not args.slot_enabled:\n    {LINE}",
        f"if args.mode in ('legal', 'fast'):\n    {LINE}",
        f"if len(tokens) > 3:\n    {LINE}",
        f"def f():\n    {LINE}\nf()\nif args.ttt_enabled:\n    f()",
    ],
    ids=[
        "always", "on by default", "one of two always", "a number", "a switch and a number", "another label",
        "two different switches", "two words", "no setting", "one call always",
    ],
)  # fmt: skip
def test_nothing_is_concluded_where_there_is_a_choice_or_no_need(code: str) -> None:
    assert concluded(code) == {}


def test_what_is_said_is_never_contradicted() -> None:
    code = f"if args.ttt_enabled:\n    {LINE}"
    assert concluded(code, TTT_ENABLED="0") == {}
    assert concluded(code, said=("TTT_ENABLED",)) == {}


def test_a_settings_origin_and_a_note_say_where_it_was_concluded_from(tmp_path: Path) -> None:
    (tmp_path / "train_gpt.py").write_text(HEAD + f"if args.ttt_enabled:\n    {LINE}\n")
    found = read_settings(open_script(tmp_path), None, Claim(labels=frozenset({LABEL})))
    setting = found.values["TTT_ENABLED"]
    assert (setting.value, setting.origin, setting.file, setting.line) == ("1", "printed", "train_gpt.py", 11)
    assert found.submitted == {"TTT_ENABLED": "1"}
    assert found.notes == (
        'TTT_ENABLED=1 is concluded: the logs show the score as "legal ttt", which train_gpt.py:11 prints only then',
    )
    asked = read_settings(open_script(tmp_path), {"TTT_ENABLED": "0"}, Claim(labels=frozenset({LABEL})))
    assert asked.get("TTT_ENABLED") == "0" and asked.notes == ()

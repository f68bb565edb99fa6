"""Audits of folders that speak of a switch which nobody states: both worlds are made, and both are in the finding."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest

from harness.record import Record, Status
from harness.scripts import auditing
from tests.scripts.audits import SCRIPT, audit
from tests.support import finding

#: Off by default, and under the sliding pass's own label.
PLAIN = '    eval_val_sliding(args, model, val, tables, device)\n    if EVAL == "ttt":'
SWITCH = (
    '    slot_enabled = bool(int(os.environ.get("SLOT_ENABLED", "0")))\n'
    '    legal_enabled = bool(int(os.environ.get("LEGAL_TTT_ENABLED", "0")))\n    slot_steps = '
)
INSIDE = (
    '    adapt = slot(args, "scored") if args.slot_enabled else None\n'
    "    eval_val_sliding(args, model, val, tables, device, adapt=adapt)\n"
    "    if args.legal_enabled:\n"
    "        eval_val_ttt(args, model, val, tables, device, score_first=True)\n"
    '    if EVAL == "score_first":'
)
#: The checks that see SLOT, and the one that holds both worlds against each other.
CHECKS = ("causality", "score-before-update", "settings")


def folder(root: Path, readme: str = "", log: str = "") -> Path:
    """A folder with the script, what it says of itself, and a log that shows the claimed number."""
    source = SCRIPT.read_text()
    assert PLAIN in source and "    slot_steps = " in source
    root.mkdir(parents=True, exist_ok=True)
    source = source.replace(PLAIN, INSIDE).replace("    slot_steps = ", SWITCH)
    (root / "train_gpt.py").write_text(source)
    (root / "README.md").write_text(readme or "# A small transformer\n\nTrained for 600 seconds.\n")
    (root / "submission.json").write_text(json.dumps({"name": "Small", "val_bpb": 1.2345}))
    if log:
        (root / "train.log").write_text(log)
    return root


def audited(path: Path, out: Path, **options: object) -> tuple[Record, int]:
    """The record, and how many audits it took."""
    with mock.patch.object(auditing, "gather", side_effect=auditing.gather) as gather:
        record = audit(path, out, **{"checks": CHECKS, **options}).record
    return record, gather.call_count


@pytest.mark.parametrize("seed", [0, 1])
def test_slot_that_only_the_readme_speaks_of_is_not_decided(tmp_path, seed):
    path = folder(tmp_path / "small", "# A small transformer\n\n* **SLOT**: 24 steps of SGD, lr 20, on each batch.\n")
    record, audits = audited(path, tmp_path / "out", seed=seed)
    found = finding(record, "settings")
    assert audits == 2 and found.status == Status.INCONCLUSIVE and record.answers.score.answer == "UNDECIDED"
    for told in ("SLOT_ENABLED", "train_gpt.py:38", "`args.slot_enabled`", 'README.md:3 "* **SLOT**: 24', "causality"):
        assert told in found.headline, (told, found.headline)
    assert any(text.startswith("causality PASS") for text in found.value("with_default"))
    assert any(text.startswith("causality FAIL") for text in found.value("with_other"))
    assert finding(record, "causality").status == Status.PASS


def test_a_leak_behind_a_switch_that_is_off_fails_where_it_is_asked_for(tmp_path):
    path = folder(tmp_path / "small")
    record, audits = audited(path, tmp_path / "off", checks=None)
    assert audits == 1 and Status.FAIL not in {item.status for item in record.findings}
    assert finding(record, "settings").status == Status.PASS
    (path / "README.md").write_text("# SLOT with 24 steps\n")
    record, audits = audited(path, tmp_path / "on", SLOT_ENABLED=1)
    assert audits == 1 and finding(record, "causality").status == Status.FAIL
    assert finding(record, "settings").status == Status.PASS  # what is asked for is no question


def test_both_worlds_of_a_legal_switch_pass_and_are_named(tmp_path):
    path = folder(tmp_path / "small", "# Small\n\n* Legal TTT: 3 epochs on chunks that were scored.\n")
    record, audits = audited(path, tmp_path / "out")
    found = finding(record, "settings")
    assert audits == 2 and found.status == Status.PASS, found.headline
    assert "LEGAL_TTT_ENABLED=0, nor with LEGAL_TTT_ENABLED=1" in found.headline
    assert record.answers.score.answer == "VALID"


def test_a_second_world_that_breaks_is_no_pass(tmp_path):
    path = folder(tmp_path / "small", "# Small with SLOT\n")
    source = (path / "train_gpt.py").read_text()
    begins = "    def adapt(model, hidden, y, mask):\n"
    assert begins in source
    broken = source.replace(begins, "    raise RuntimeError('no SLOT here')\n\n" + begins)
    (path / "train_gpt.py").write_text(broken)
    found = finding(audited(path, tmp_path / "out")[0], "settings")
    assert found.status == Status.INCONCLUSIVE and "no SLOT here" in found.headline

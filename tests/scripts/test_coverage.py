"""Audits of scripts in which something sleeps at a tiny size: it is woken, or said to sleep, or known never to wake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.record import Record, Status
from tests.scripts.audits import SCRIPT, audit, replayed, write_script
from tests.support import finding

CHECKS = ("causality", "coverage")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = SCRIPT.read_text().replace('"TRAIN_SEQ_LEN", 64', '"TRAIN_SEQ_LEN", 1024')
    return write_script(tmp_path_factory.mktemp("script"), text)


def audited(script: Path, out: Path, how: str, seed: int = 0) -> Record:
    return audit(script, out, checks=CHECKS, seed=seed, EVAL_MODE=f"sleep_{how}").record


@pytest.mark.parametrize(("where", "seed"), [("count", 0), ("early", 1), ("length", 2)])
def test_what_sleeps_behind_a_threshold_is_woken_and_judged(script, tmp_path, where, seed):
    leak = audited(script, tmp_path / "leak", f"{where}_leak", seed)
    assert finding(leak, "causality").status == Status.FAIL, finding(leak, "causality").headline
    assert finding(leak, "coverage").status == Status.PASS, finding(leak, "coverage").headline
    small = leak.submission.settings["made small"]
    assert any("code that runs at full size" in str(row["why"]) for row in small)
    clean = audited(script, tmp_path / "clean", f"{where}_clean", seed)
    assert [item.status for item in clean.findings] == [Status.PASS] * 2, [item.headline for item in clean.findings]


def test_a_leak_that_was_woken_replays(script, tmp_path):
    audited(script, tmp_path / "leak", "count_leak")
    assert "causality" in replayed(tmp_path / "leak", script)


def test_what_cannot_wake_at_full_size_either_is_left_alone(script, tmp_path):
    record = audited(script, tmp_path / "far", "far_leak")
    assert [item.status for item in record.findings] == [Status.PASS] * 2, [item.headline for item in record.findings]


def test_what_sleeps_by_its_values_leaves_the_score_undecided(script, tmp_path):
    record = audited(script, tmp_path / "value", "value_leak")
    found = finding(record, "coverage")
    assert found.status == Status.INCONCLUSIVE
    assert "hidden.abs().max() > 1000000.0" in found.headline and "train_gpt.py:" in found.headline
    assert record.answers.score.answer == "UNDECIDED"


def test_what_is_written_into_the_source_is_made_small_and_a_second_pass_by_chunks_is_seen(tmp_path):
    """A script without settings, whose chunk is a million tokens: at a tiny size it never came to a second one."""
    text = SCRIPT.read_text()
    for line in re.findall(r"    \w+ = int\(os\.environ\.get\(\"(?:MODEL_DIM|TRAIN_SEQ_LEN|ITERATIONS)\", .*", text):
        name, value = line.split(" = ")[0], {"model_dim": 512, "train_seq_len": 1024, "iterations": 20_000}
        text = text.replace(line, f"{name} = {value[name.strip()]}")
    path = write_script(tmp_path / "fixed", text)
    how = {"seed": 1, "checks": ("causality", "single-pass", "coverage")}
    leak = audit(path, tmp_path / "leak", EVAL_MODE="chunked_ahead", **how).record
    assert finding(leak, "causality").status == Status.FAIL, finding(leak, "causality").headline
    clean = audit(path, tmp_path / "clean", EVAL_MODE="chunked_behind", **how).record
    assert [item.status for item in clean.findings] == [Status.PASS] * 3, [item.headline for item in clean.findings]
    small = {str(row["name"]).partition(" ")[0] for row in clean.submission.settings["made small"]}
    assert {"model_dim", "train_seq_len", "iterations", "eval_val_chunked(chunk_tokens)"} <= small

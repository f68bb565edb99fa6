"""The labels under which a folder's logs print the score that it claims."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness import rules
from harness.scripts.opening import open_script
from harness.scripts.settings import claimed
from harness.scripts.trace.lines import plain
from tests.papers.papers import folder, three

RULES = rules.load()


def test_the_label_is_found_by_the_number(tmp_path: Path) -> None:
    path = folder(tmp_path, three(label="quantized_adapted_12steps"), grammar="new")
    assert claimed.find(claimed.case_of(open_script(path), RULES)).labels == {"quantized adapted steps"}


def test_a_number_that_no_log_prints_has_none(tmp_path: Path) -> None:
    logs = [replace(log, loss=log.loss + 0.5) for log in three()]
    path = folder(tmp_path, logs, claims={"val_bpb": 0.5, "seed_results": None})
    assert claimed.find(claimed.case_of(open_script(path), RULES)) == claimed.Claim()
    assert claimed.find(claimed.case_of(open_script(path / "train_gpt.py"), RULES)) == claimed.Claim()


def test_settings_come_from_the_logs_that_show_the_claim_and_train(tmp_path: Path) -> None:
    path = folder(tmp_path, three())
    other = replace(three()[0], seed=7, loss=2.9)
    (path / "train_seed7.log").write_text(other.new)
    names = {f"train_seed{log.seed}.log" for log in three()}
    assert claimed.find(claimed.case_of(open_script(path), RULES)).logs == names
    alone = path / "train_seed42.log"
    lines = [line for line in alone.read_text().splitlines() if "/20000" not in line]
    alone.write_text("\n".join(lines))  # an evaluation that was made in a process of its own
    found = claimed.find(claimed.case_of(open_script(path), RULES))
    assert found.logs == names - {"train_seed42.log"} and found.labels


def test_numbers_in_labels_change_with_sizes() -> None:
    assert plain("final_window_s64+slot32steps_exact") == plain("final_window_s32+slot4steps")
    assert plain("final_window") != plain("final_window_s64")

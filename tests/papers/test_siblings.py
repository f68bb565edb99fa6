"""Logs of a sibling contest, written here in its grammar: what papers read of them, and what they do not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import rules
from harness.papers.linting import Linted, lint
from harness.papers.logs import read_log
from harness.papers.reading import Paper
from harness.record import Finding, Status

#: A run of the modded-nanogpt speedrun prints losses without bits per byte, and the time of training alone.
LINES = [
    "Running Python 3.12.7", "nvidia-smi", "====================",
    "step:0/1390 val_loss:10.8258 train_time:0ms step_avg:0.02ms",
    *(f"step:{step}/1390 train_time:{step * 146}ms step_avg:146.00ms" for step in range(1, 4)),
    "step:125/1390 val_loss:4.6601 train_time:18011ms step_avg:144.09ms",
    "step:1390/1390 val_loss:3.2787 train_time:203412ms step_avg:146.34ms",
    "peak memory allocated: 39064 MiB reserved: 39920 MiB",
]  # fmt: skip


def test_a_log_of_the_speedrun_gives_its_time_and_no_score_in_bits_per_byte(tmp_path: Path) -> None:
    text = "\n".join(LINES) + "\n"
    (tmp_path / "log.txt").write_text(text)
    (run,) = read_log(Paper("log.txt", len(text), tmp_path))
    assert run.train_ms is not None and run.train_ms.value == 203_412
    assert run.train_ms.quote.text.startswith("step:1390/1390")
    assert run.metrics == run.steps == [] and run.results == []  # a loss alone is no score that is divided by bytes
    assert run.loss is not None and (run.loss.value, run.loss.half) == (3.2787, 0.5e-4)  # that of the last step


def judged(home: Path, losses: Sequence[float], ruleset: str = "nanogpt-speedrun", ms: int = 203_412) -> Linted:
    folder = home / "records" / "track_1_short" / "2026-01-01_Something"
    folder.mkdir(parents=True)
    for index, loss in enumerate(losses):
        last = f"step:1390/1390 val_loss:{loss:.4f} train_time:{ms + index}ms step_avg:146.34ms"
        (folder / f"{index}.txt").write_text("\n".join([*LINES[:-2], last, LINES[-1]]) + "\n")
    (folder / "README.md").write_text("# A record\n")
    (folder / "train_gpt.py").write_text("print('x')\n")
    return lint(folder, rules.load(ruleset))


def found(linted: Linted, name: str) -> Finding:
    return next(one for one in linted.findings if one.id == name)


@pytest.mark.parametrize(
    ("losses", "status", "says"),
    [
        ((3.2787, 3.2790, 3.2781, 3.2785), Status.PASS, "below at p < 0.01"),
        ((3.2787, 3.2799, 3.2795, 3.2810), Status.INCONCLUSIVE, "further runs decide"),
        ((3.2801, 3.2803, 3.2790, 3.2812), Status.FAIL, "the mean is above it"),
        ((3.2787, 3.2790), Status.INCONCLUSIVE, "2 of 3 runs"),
        ((3.2787, 3.2787, 3.2787), Status.INCONCLUSIVE, "copies of one run"),
    ],
)
def test_a_fixed_loss_is_what_a_record_of_the_speedrun_has_to_reach(
    losses: Sequence[float], status: Status, says: str, tmp_path: Path
) -> None:
    linted = judged(tmp_path, losses)
    shown = found(linted, "significance")
    assert (shown.status, says in shown.headline) == (status, True), shown.headline
    if status == Status.FAIL:
        assert shown.witness is not None and shown.witness.data["target"] == 3.28
        assert {quote["file"] for quote in shown.witness.data["quotes"]} == {f"{n}.txt" for n in range(4)}
    assert found(linted, "train-clock").status == Status.PASS
    assert "no log of a run" not in found(linted, "claims").headline


def test_its_clock_is_that_of_the_runs_that_reach_it(tmp_path: Path) -> None:
    slow = found(judged(tmp_path, (3.2787, 3.2790, 3.2781), ms=2_800_000), "train-clock")
    assert slow.status in (Status.FAIL, Status.INCONCLUSIVE) and "2800.00" in slow.headline


def test_the_contests_own_rules_have_no_use_for_a_loss_alone(tmp_path: Path) -> None:
    linted = judged(tmp_path, (3.2787, 3.2790, 3.2781), "2026-04-28")
    assert "no log of a run with a score" in str(found(linted, "claims"))
    assert "0 of 3 seeds" in found(linted, "significance").headline

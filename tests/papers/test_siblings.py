"""Logs of a sibling contest, written here in its grammar: what papers read of them, and what they do not."""

from __future__ import annotations

from pathlib import Path

from harness.papers.logs import read_log
from harness.papers.reading import Paper

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

"""Where a submission computes. What a GPU does is tried where there is one; asking in vain is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.adapters.collect import _unsplit, gather
from harness.adapters.options import Options
from harness.adapters.training import seal_key, train
from harness.errors import SubmissionError
from harness.progress import Progress
from harness.record import Status
from tests.support import finding, judge, tiny_dataset, write_submission


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU, so asking for one is not in vain")
def test_a_gpu_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="--device cuda: no GPU can be used in the box"):
        judge(write_submission(tmp_path / "s"), tiny_dataset(tmp_path), tmp_path / "out", device="cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU, so asking for one is not in vain")
def test_an_artifact_from_elsewhere_says_the_same_when_it_is_scored(tmp_path: Path) -> None:
    folder, data = write_submission(tmp_path / "s"), tiny_dataset(tmp_path)
    with Progress(quiet=True) as progress:
        sealed = train(folder, data, 1, tmp_path, Options(timeout=120.0, threads=1), progress)
        with pytest.raises(SubmissionError, match="--device cuda: no GPU can be used in the box"):
            gather(folder, data, sealed, 1, tmp_path, Options(checks=["single-pass"], device="cuda"), progress)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU; none is here")
def test_a_submission_on_a_gpu_is_flipped_in_whole_runs(tmp_path: Path) -> None:
    record = judge(write_submission(tmp_path / "s"), tiny_dataset(tmp_path), tmp_path / "out", device="cuda")
    assert record.environment["device"] == "cuda"
    found = finding(record, "causality")
    assert found.status == Status.PASS, found.headline
    assert any("a GPU cannot be split" in line for line in found.not_covered)


def test_an_artifact_of_one_device_is_not_taken_for_that_of_another(tmp_path: Path) -> None:
    folder, data = write_submission(tmp_path / "s"), tiny_dataset(tmp_path)
    assert seal_key(folder, data, "smoke", 1) == seal_key(folder, data, "smoke", 1, "cpu")
    assert seal_key(folder, data, "smoke", 1) != seal_key(folder, data, "smoke", 1, "cuda")


def test_why_flips_are_whole_runs() -> None:
    assert _unsplit(Options()) == ""
    assert "ranks" in _unsplit(Options(ranks=2)) and "GPU" in _unsplit(Options(device="cuda"))

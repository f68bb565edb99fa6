"""`harness check`: in the box and in this process."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.check import command
from harness.errors import HarnessError, SubmissionError

MODULE = """
import os
import torch
from types import SimpleNamespace
from torch import nn

class Model(nn.Module):
    def __init__(self, ahead=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.ahead = nn.Embedding(50, 16), nn.Linear(16, 50), ahead
        self.config = SimpleNamespace(vocab_size=50, block_size=40)

    def forward(self, x):
        h = self.embed(x)
        return self.head(h.cumsum(1) + self.ahead * h.roll(-1, 1))

def leaking():
    return Model(1e-3)

def losses(tokens):
    rows = Model()(tokens[None, :-1])[0]
    return nn.functional.cross_entropy(rows, tokens[1:], reduction="none").detach()

def curious(tokens):
    open("/etc/hostname").read()
    os.environ["HOME"]
    return Model()(tokens)

def broken(tokens):
    raise ValueError("no weights here")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    sys.modules.pop("mine", None)
    return tmp_path


def checked(*arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "-q"])


@pytest.mark.box
def test_in_the_box_a_clean_model_passes_and_a_leak_is_named(folder: Path) -> None:
    done = checked("mine:Model")
    assert done.exit_code == 0, done.output
    done = checked("mine.py:leaking()", "--out", "report", "--json")
    assert done.exit_code == 1
    printed = json.loads(done.output)
    record = printed[0] if isinstance(printed, list) else printed
    assert record["environment"]["sandbox"]["name"] != "none" and record["data"]["tokens"] == 40
    assert "moved" in (folder / "report" / "report.html").read_text()
    found = next(one for one in record["findings"] if one["id"] == "causality")
    assert found["status"] == "FAIL" and "moved" in found["witness"]["summary"]


@pytest.mark.box
def test_in_the_box_a_scorer_and_what_the_box_forbids(folder: Path) -> None:
    done = checked("mine:losses", "--scorer", "--vocab-size", "50", "--length", "64")
    assert done.exit_code == 0, done.output
    done = checked("mine:curious", "--vocab-size", "50")
    assert isinstance(done.exception, SubmissionError) and "Error" in str(done.exception)
    done = checked("mine:broken", "--vocab-size", "50")
    assert isinstance(done.exception, SubmissionError) and "no weights here" in str(done.exception)
    assert done.exception.log is not None and "ValueError" in done.exception.log.read_text()
    os.unlink(done.exception.log)
    done = checked("mine:nothing", "--vocab-size", "50")
    assert isinstance(done.exception, SubmissionError) and "nothing" in str(done.exception)


def test_trusted_it_is_imported_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    assert checked("mine:Model", "--trusted").exit_code == 0
    done = checked("mine:leaking()", "--trusted", "--length", "32")
    assert done.exit_code == 1 and "moved" in done.output
    assert "moved" in (folder / "summary.md").read_text()
    assert checked("mine:losses", "--trusted", "--scorer", "--vocab-size", "50", "--length", "64").exit_code == 0


@pytest.mark.parametrize("target", ["mine", ":x", "mine:", "nowhere:x", "mine:nothing"])
def test_what_cannot_be_found_is_one_line(folder: Path, target: str) -> None:
    done = checked(target, "--trusted", "--vocab-size", "50")
    assert done.exit_code == 2 and "Error" in done.output
    if ":" not in target.strip(":"):
        done = checked(target, "--vocab-size", "50")
        assert isinstance(done.exception, HarnessError) and done.exception.exit_code == 2

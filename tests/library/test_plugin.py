"""The pytest plug-in: what a test prints, what markers do, and the summary of a job."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).resolve().parents[2]

#: Where the package is installed with its entry point, the plug-in is there already, and may not be named again.
INSTALLED = any(one.name == "harness" for one in importlib.metadata.entry_points(group="pytest11"))
NAMED = () if INSTALLED else ("-p", "harness.library.plugin")

MODELS = """
import pytest
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self, ahead):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.ahead = nn.Embedding(50, 16), nn.Linear(16, 50), ahead

    def forward(self, x):
        h = self.embed(x)
        return self.head(h.cumsum(1) + (h.roll(-1, 1) if self.ahead else 0))

pytestmark = pytest.mark.causal_audit(vocab_size=50, length=48)

def test_clean(causal_audit):
    assert causal_audit(Model(False)).ok

def test_leak(causal_audit):
    causal_audit(Model(True))

@pytest.mark.causal_audit(length=24)
def test_looked_at(causal_audit):
    report = causal_audit(Model(True), check=False)
    assert not report.ok and report.record.data.tokens == 24

def test_scorer(causal_audit):
    def score(tokens):
        return Model(False)(tokens[None, :-1])[0].detach()
    assert causal_audit(score, scorer=True).record.data.tokens == 48
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_failing_test_prints_the_witness_and_a_job_gets_a_summary(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    summary = pytester.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makepyfile(MODELS)
    options = ("-p", "xdist", "-n", workers) if workers != "0" else ()
    done = pytester.runpytest_subprocess(*NAMED, "--strict-markers", *options)
    done.assert_outcomes(passed=3, failed=1)
    text = done.stdout.str()
    assert "causal audit" in text and "witness" in text and "uses tokens before it predicts them" in text
    rows = [line for line in summary.read_text().splitlines() if line.startswith("| test_")]
    assert len(rows) == 4 and sum("FAIL" in row for row in rows) == 2
    assert summary.read_text().count("### Causal audits") == 1


def test_without_a_test_that_asks_nothing_is_imported(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import sys\ndef test_it(): assert not {'torch', 'pydantic'} & set(sys.modules)")
    done = pytester.runpytest_subprocess(*NAMED, "-p", "no:hypothesispytest")
    done.assert_outcomes(passed=1)


def test_it_is_an_entry_point_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"harness": "harness.library.plugin"}
    assert any(one.startswith("transformers") for one in project["optional-dependencies"]["transformers"])

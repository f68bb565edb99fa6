"""Peeks inside a model or a batch, and deltas fitted to what they are then charged for; each with its neighbour.

The neighbours of one kind share an audit: what is clean together is clean alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.record import Record, Status
from tests.scripts.audits import audit, replayed
from tests.scripts.peeking import write_peek
from tests.support import finding


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_peek(tmp_path_factory.mktemp("script"))


def audited(script: Path, out: Path, peek: str, seed: int = 0, **more: object) -> Record:
    return audit(script, out, **{"checks": ("causality",), "seed": seed, "PEEK": peek, **more}).record


#: Added to what attention sees. The last ones only while not training, and only in long windows.
MODELS = ((":blocks", 1, "always"), (":frequency", 2, "always"), (":convolution", 3, "always"),
          (":pooling", 4, "always"), (":recurrence", 5, "eval"), (":blocks", 6, "long"))  # fmt: skip
#: Between the rows of a batch and the charge.
BATCHES = (("topk_span", 0), ("topk_window", 1), ("norm_span", 2), ("heat", 3))
SLOW = tuple(
    pytest.param(*case, marks=pytest.mark.more) for case in (("topk_span", 11), ("mean_span", 13), ("max_window", 14))
)


@pytest.mark.parametrize(("peek", "seed", "when"), MODELS)
def test_a_model_that_looks_ahead_within_its_window_is_caught(script, tmp_path, peek, seed, when):
    found = finding(audited(script, tmp_path / "out", peek, seed, PEEK_WHEN=when), "causality")
    assert found.status == Status.FAIL, found.headline


@pytest.mark.parametrize(("peek", "seed"), [*BATCHES, *SLOW])
def test_what_other_rows_of_a_batch_decide_is_caught(script, tmp_path, peek, seed):
    found = finding(audited(script, tmp_path / "out", peek, seed), "causality")
    assert found.status == Status.FAIL, found.headline
    if peek == "topk_span":
        assert "causality" in replayed(tmp_path / "out", script)


@pytest.mark.parametrize("seed", [1, pytest.param(21, marks=pytest.mark.more)])
def test_the_causal_forms_are_left_alone(script, tmp_path, seed):
    found = finding(audited(script, tmp_path / "out", "all-clean:all-clean", seed), "causality")
    assert found.status == Status.PASS, found.headline
    assert found.value("own_rows_compared") > 50


def test_a_delta_for_each_position_is_caught_where_it_is_fitted_before_the_charge(script, tmp_path):
    checks = ("causality", "score-before-update")
    first = audited(script, tmp_path / "first", "delta_first_one", 1, checks=checks)
    assert [item.status for item in first.findings] == [Status.FAIL] * 2
    early = finding(first, "score-before-update")
    before = early.value("positions_trained_early") + early.value("starts_trained_early")
    assert before == early.value("positions_trained")
    after = audited(script, tmp_path / "after", "delta_after", 2, checks=checks)
    assert [item.status for item in after.findings] == [Status.PASS] * 2, [item.headline for item in after.findings]


@pytest.mark.parametrize(
    "seed", [0, pytest.param(31, marks=pytest.mark.more), pytest.param(32, marks=pytest.mark.more)]
)
def test_a_delta_at_few_positions_moves_their_own_rows_alone_and_is_caught(script, tmp_path, seed):
    found = finding(audited(script, tmp_path / "out", "delta_rare", seed), "causality")
    assert found.status == Status.FAIL and found.witness is not None, found.headline
    assert found.value("own_rows_moved") >= 1 and not found.witness.data["affected"]
    assert "causality" in replayed(tmp_path / "out", script)

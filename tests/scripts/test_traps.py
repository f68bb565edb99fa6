"""What looks like a look ahead and is none: all of it stays clean."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.record import Status
from tests.scripts.audits import audit, replayed
from tests.scripts.peeking import write_peek
from tests.support import finding

CHECKS = ("causality", "normalization", "score-before-update", "single-pass")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_peek(tmp_path_factory.mktemp("script"))


@pytest.mark.parametrize(
    ("peek", "seed", "more"),
    [
        ("hashed", 1, {}),
        ("hashed_hinted", 2, {"tokens": 2049}),
        ("documents", 3, {}),
        ("padding:frequency-clean", 4, {}),
        # Sums over time, a roll, attention to both sides and other losses while training, all in one model.
        ("plain:all-clean", 5, {}),
        pytest.param("documents", 13, {}, marks=pytest.mark.more),
        pytest.param("padding:most-clean", 14, {}, marks=pytest.mark.more),
    ],
)
def test_what_only_looks_like_a_peek_is_left_alone(script, tmp_path, peek, seed, more):
    record = audit(script, tmp_path / "out", checks=CHECKS, seed=seed, PEEK=peek, **more).record
    assert [item.status for item in record.findings] == [Status.PASS] * 4, [item.headline for item in record.findings]


def test_a_last_stride_that_is_scored_twice_is_a_practice_and_no_leak(script, tmp_path):
    record = audit(script, tmp_path / "out", checks=CHECKS, seed=6, PEEK="plain", TAIL_TWICE=1).record
    assert Status.FAIL not in {item.status for item in record.findings}, [item.headline for item in record.findings]
    assert "scored again" in finding(record, "single-pass").headline


def test_what_rounding_moved_is_told_from_a_leak_by_float64(script, tmp_path):
    """Both are small, both come of padding by the text; only what the window's length decides is left in float64."""
    loud = finding(
        audit(script, tmp_path / "loud", checks=("causality",), seed=15, PEEK="padding_loud").record, "causality"
    )
    assert loud.status == Status.PASS and "are rounding, and none in float64" in loud.headline, loud.headline
    assert 1e-6 < loud.value("rounding_seen") < 0.02
    record = audit(script, tmp_path / "pooled", checks=("causality",), seed=14, PEEK="padding:all-clean").record
    pooled = finding(record, "causality")
    assert pooled.status == Status.FAIL and pooled.value("largest_change") < 0.02, pooled.headline
    assert "float64" in record.timing["cpu"]
    assert "causality" in replayed(tmp_path / "pooled", script)

"""Audits of scripts that charge for other targets than the stream's, or not for all: offenders and clean neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.record import Record, Status
from tests.scripts.audits import audit, replayed, write_script
from tests.support import finding


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_script(tmp_path_factory.mktemp("script"))


def audited(script: Path, out: Path, how: str, seed: int = 0, **env: int) -> Record:
    checks = ("single-pass", "byte-accounting")
    return audit(script, out, checks=checks, seed=seed, EVAL_MODE=f"targets_{how}", **env).record


@pytest.mark.parametrize(("how", "seed"), [("clamped", 1), ("modulo", 2)])
def test_a_model_on_shards_of_a_larger_vocabulary_is_caught_and_replays(script, tmp_path, how, seed):
    """The folder names shards of 8,192; ids that the model has not become ids that it has."""
    found = finding(audited(script, tmp_path / how, how, seed, VOCAB_SIZE=1024), "byte-accounting")
    assert found.status == Status.FAIL and found.witness is not None, found.headline
    assert found.witness.kind == "targets" and "both are charged for" in found.witness.summary
    one = found.witness.data["targets"][0]
    assert one["charged"] == (min(one["stream"], 1023) if how == "clamped" else one["stream"] % 1024) < one["stream"]
    assert replayed(tmp_path / how, script)["byte-accounting"] == ["base"]


@pytest.mark.parametrize(("how", "seed"), [("header", 0), ("common", 3)])
def test_targets_that_are_none_of_the_streams_are_caught(script, tmp_path, how, seed):
    found = finding(audited(script, tmp_path / how, how, seed), "byte-accounting")
    assert found.status == Status.FAIL and found.witness is not None, found.headline
    assert found.witness.data["nowhere"] == 255 if how == "header" else found.witness.data["targets"]


@pytest.mark.parametrize(
    ("how", "seed"), [("ignored", 0), ("bytes", 1), ("masked", 2), ("dropped", 0), ("zeroed", 3), ("trimmed", 1)]
)
def test_targets_that_are_not_charged_are_caught(script, tmp_path, how, seed):
    """By what they are, or because their loss is high; their bytes are counted all the same."""
    record = audited(script, tmp_path / how, how, seed)
    never, counted = finding(record, "single-pass"), finding(record, "byte-accounting")
    assert never.status == Status.FAIL and "are never scored" in never.headline, never.headline
    assert counted.status == Status.FAIL and "never charged" in counted.headline, counted.headline


def test_a_bound_on_losses_that_none_reached_leaves_the_score_open(script, tmp_path):
    record = audit(script, tmp_path / "far", checks=("normalization",), EVAL_MODE="targets_far").record
    found = finding(record, "normalization")
    assert found.status == Status.INCONCLUSIVE and "charged at all" in found.headline, found.headline


@pytest.mark.parametrize(
    ("how", "seed", "env"),
    [("plain", 0, {}), ("padded", 1, {}), ("clamped", 2, {}), ("modulo", 3, {}), ("plain", 1, {"VOCAB_SIZE": 1024})],
)
def test_every_target_charged_for_its_own_token_is_left_alone(script, tmp_path, how, seed, env):
    """A guard that nothing meets is none; a script that cannot read the larger shards gets its own."""
    record = audited(script, tmp_path / "out", how, seed, **env)
    assert [item.status for item in record.findings] == [Status.PASS] * 2, [item.headline for item in record.findings]

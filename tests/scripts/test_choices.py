"""Audits of scripts that choose among losses, or among tokens: each offender, and neighbours that differ only in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import rules
from harness.record import Record, Status
from tests.scripts.audits import audit, replayed, write_script
from tests.support import finding

CHECKS = ("causality", "normalization")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_script(tmp_path_factory.mktemp("script"))


def audited(script: Path, out: Path, how: str, seed: int = 0) -> Record:
    return audit(script, out, checks=CHECKS, seed=seed, EVAL_MODE=f"choice_{how}").record


#: By token, by window, by document and by batch; in torch and in Python; by its own loss and by a later one. What each
#: operation does is in inside/test_decisions.py.
OFFENDERS = (("token_where", 1), ("token_threshold", 3), ("token_later", 0), ("python", 2), ("window_if", 0),
             ("document", 1), ("batch", 2))  # fmt: skip
#: By earlier losses or by the row alone.
CLEAN = (("token_previous", 1), ("token_running", 2), ("window_previous", 3), ("context", 0))
#: Paid for, so that it may be a distribution, or the worse of two, which charges more than one.
OPEN = (("token_paid", 1), ("window_paid", 2), ("window_flag", 3), ("token_worse", 1))


@pytest.mark.parametrize(("how", "seed"), OFFENDERS)
def test_a_charge_chosen_by_its_own_or_later_losses_is_caught_and_replays(script, tmp_path, how, seed):
    found = finding(audited(script, tmp_path / how, how, seed), "normalization")
    assert found.status == Status.FAIL, found.headline
    assert found.witness is not None and found.witness.kind == "choice"
    assert replayed(tmp_path / how, script)["normalization"] == ["base", "turned"]


@pytest.mark.parametrize(("how", "seed"), CLEAN)
def test_a_choice_by_what_came_before_is_left_alone(script, tmp_path, how, seed):
    record = audited(script, tmp_path / how, how, seed)
    assert [item.status for item in record.findings] == [Status.PASS] * 2, [item.headline for item in record.findings]


@pytest.mark.parametrize(("how", "seed"), OPEN)
def test_a_choice_that_was_paid_for_is_not_accused(script, tmp_path, how, seed):
    record = audited(script, tmp_path / how, how, seed)
    assert Status.FAIL not in {item.status for item in record.findings}, [item.headline for item in record.findings]


def test_a_row_that_lets_its_own_token_in_is_caught_and_one_without_it_is_not(script, tmp_path, seed=1):
    leak = finding(audited(script, tmp_path / "gold", "support_gold", seed), "causality")
    assert leak.status == Status.FAIL and leak.witness is not None, leak.headline
    assert "impossible" in leak.witness.summary
    assert "causality" in replayed(tmp_path / "gold", script)
    floor = audited(script, tmp_path / "floor", "support_floor", seed)
    assert [item.status for item in floor.findings] == [Status.PASS] * 2, [item.headline for item in floor.findings]
    top = audited(script, tmp_path / "top", "support_top", seed)  # infinite charges hide what other tokens change
    assert Status.FAIL not in {item.status for item in top.findings}, [item.headline for item in top.findings]


@pytest.mark.parametrize(("how", "seed"), [("min", 0), ("if", 1), ("sorted", 2)])
def test_the_best_of_several_finished_evaluations_is_caught(script, tmp_path, how, seed):
    record = audit(script, tmp_path / how, checks=("single-pass",), seed=seed, EVAL_MODE=f"best_{how}").record
    found = finding(record, "single-pass")
    assert found.status == Status.FAIL and "several finished evaluations" in found.headline, found.headline
    if how == "min":
        assert "single-pass" in replayed(tmp_path / how, script)


@pytest.mark.parametrize(("how", "seed"), [("told", 1), ("second", 2)])
def test_evaluations_that_are_only_compared_are_left_alone(script, tmp_path, how, seed):
    record = audit(script, tmp_path / how, checks=("single-pass",), seed=seed, EVAL_MODE=f"best_{how}").record
    assert finding(record, "single-pass").status == Status.PASS, finding(record, "single-pass").headline


@pytest.mark.parametrize(
    ("how", "seed"), [("if", 0), ("loop", 1), pytest.param("min", 2, marks=pytest.mark.more), ("part", 3)]
)
def test_weights_chosen_by_their_loss_on_the_text_are_named_and_nothing_else_is(script, tmp_path, how, seed):
    checks = ("causality", "normalization", "single-pass", "artifact-independence")
    record = audit(script, tmp_path / how, checks=checks, seed=seed, EVAL_MODE=f"weights_{how}").record
    found = finding(record, "artifact-independence")
    assert found.status == Status.UNRULED and "which weights or settings" in found.headline, found.headline
    others = [item for item in record.findings if item.id != "artifact-independence"]
    assert {item.status for item in others} == {Status.PASS}, [item.headline for item in others]


def test_where_it_is_forbidden_the_choice_of_weights_replays(script, tmp_path):
    strict = rules.load("strict")
    options = {"checks": ("artifact-independence",), "ruleset": strict}
    record = audit(script, tmp_path / "strict", EVAL_MODE="weights_if", **options).record
    assert finding(record, "artifact-independence").status == Status.FAIL
    assert "artifact-independence" in replayed(tmp_path / "strict", script)


@pytest.mark.parametrize(("how", "seed"), [("told", 1), ("train", 2)])
def test_weights_that_are_not_chosen_by_the_text_are_left_alone(script, tmp_path, how, seed):
    checks = ("causality", "artifact-independence")
    record = audit(script, tmp_path / how, checks=checks, seed=seed, EVAL_MODE=f"weights_{how}").record
    assert [item.status for item in record.findings] == [Status.PASS] * 2, [item.headline for item in record.findings]

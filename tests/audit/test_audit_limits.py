"""size-limit, train-clock, eval-clock: at the limit, over it, and where the conventions disagree."""

from __future__ import annotations

from typing import Any

import pytest

from harness import rules
from harness.audit import check, checks, clocks, size_limit
from harness.audit.check import REGISTRY
from harness.audit.evidence import ArtifactSizes, Clocks
from harness.corpus.dataset import Dataset
from harness.errors import UsageError
from harness.record import Status
from tests.audit.evidence_builder import FIT, evidence, settled, taking, with_limits

LIMIT = 16_000_000


def sizes(artifact: int, shipped: int, wrapped: int, all_files: int) -> ArtifactSizes:
    return ArtifactSizes(artifact, {"shipped": shipped, "wrapped": wrapped, "all_files": all_files}, FIT.files)


def test_exactly_the_limit_fits(dataset: Dataset) -> None:
    found = settled(size_limit.check(evidence(dataset, sizes=sizes(LIMIT - 10, 5, 10, 10))), Status.PASS)
    assert found.value("total_wrapped") == LIMIT


def test_one_byte_over_fails(dataset: Dataset) -> None:
    found = settled(size_limit.check(evidence(dataset, sizes=sizes(LIMIT - 9, 5, 10, 10))), Status.FAIL)
    assert "1 over the limit" in found.headline and found.witness is not None
    assert found.witness.data["artifact"] + found.witness.data["code"] == LIMIT + 1
    assert [bar["status"] for bar in found.figures["sizes"]["bars"]] == ["PASS", "FAIL", "FAIL"]


@pytest.mark.parametrize(("ruling", "status"), [("tolerated", "PASS"), ("unruled", "UNRULED"), ("forbidden", "FAIL")])
def test_over_by_a_stricter_convention_alone_is_a_practice(dataset: Dataset, ruling: rules.Ruling, status: str) -> None:
    over = sizes(LIMIT - 10, 5, 10, 11)
    found = size_limit.check(evidence(dataset, sizes=over, ruleset=taking(ruling, "byte_convention")))
    assert "16,000,001 (all files) do not" in settled(found, Status(status)).headline


@pytest.mark.parametrize(("convention", "status"), [("shipped", "PASS"), ("all_files", "FAIL")])
def test_the_ruleset_names_the_convention(dataset: Dataset, convention: str, status: str) -> None:
    found = size_limit.check(
        evidence(dataset, sizes=sizes(LIMIT - 10, 5, 10, 11), ruleset=with_limits(size_convention=convention))
    )
    settled(found, Status(status))


CHECKS = {
    "train": (clocks.check_train, "train", "touches training data"),
    "eval": (clocks.check_eval, "evaluation", "from process start"),
}


def timed(which: str, loop: float, everything: float, *, comparable: bool = True) -> Clocks:
    other = {"loop": 1.0, "touches training data": 1.0, "from process start": 1.0}
    _, field, strict = CHECKS[which]
    readings: dict[str, Any] = {"train": other, "evaluation": other, field: {"loop": loop, strict: everything}}
    return Clocks(**readings, hardware="8xH100", comparable=comparable)


@pytest.mark.parametrize("which", CHECKS)
@pytest.mark.parametrize(
    ("loop", "everything", "comparable", "status"),
    [
        (400.0, 600.0, True, "PASS"),
        (600.0, 600.0, True, "PASS"),
        (600.1, 700.0, True, "FAIL"),
        (599.0, 600.1, True, "UNRULED"),
        (5000.0, 5000.0, False, "NOT_APPLICABLE"),
    ],
)
def test_clocks(dataset: Dataset, which: str, loop: float, everything: float, comparable: bool, status: str) -> None:
    check = CHECKS[which][0]
    found = settled(
        check(evidence(dataset, clocks=timed(which, loop, everything, comparable=comparable))), Status(status)
    )
    if not comparable:  # the digest covers findings, so seconds of other machines stay out of them
        assert [one.id for one in found.metrics] == ["limit_seconds"]


def test_the_clocks_limits_come_from_the_ruleset(dataset: Dataset) -> None:
    stricter = with_limits(train_seconds=100.0)
    found = clocks.check_train(evidence(dataset, clocks=timed("train", 101.0, 101.0), ruleset=stricter))
    settled(found, Status.FAIL)
    settled(clocks.check_eval(evidence(dataset, clocks=timed("eval", 101.0, 101.0), ruleset=stricter)), Status.PASS)


# the list of checks


def test_select() -> None:
    assert checks.select("all") == [name for name in checks.CHECKS if not REGISTRY[name].on_request]
    assert checks.select("proof") == ["proof"] and "proof" not in checks.select("all")
    quick = checks.select("score")
    assert {"single-pass", "byte-accounting", "size-limit"} <= {*quick} and not check.needs(quick, checks.CHECKS)
    assert not {"causality", "null-stream", "determinism", "normalization"} & {*quick}
    assert checks.select(" size-limit , causality ") == ["causality", "size-limit"]


@pytest.mark.parametrize(("names", "says"), [("no-such", "no check .*no-such"), ("", "no check"), (",", "no check")])
def test_unknown_checks_are_refused(names: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        checks.select(names)
    assert "causality" in str(caught.value) and "\n" not in str(caught.value)


def test_every_check_has_its_id_and_cites_a_rule_of_every_ruleset(dataset: Dataset) -> None:
    clean = evidence(dataset)
    findings = checks.judge(clean, list(checks.CHECKS))
    assert [found.id for found in findings] == list(checks.CHECKS)
    assert {found.status for found in findings} <= {Status.PASS, Status.NOT_RUN, Status.NOT_APPLICABLE}
    assert {found.rule for found in findings} <= set(rules.CITED)
    assert all(found.rule == REGISTRY[found.id].rule for found in findings)

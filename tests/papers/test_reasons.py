"""Every reason is one of a list, drafts claim nothing, and a queue is counted by reasons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import rules
from harness.papers import reasons
from harness.papers.collect import finding, open_case
from harness.papers.linting import Linted, lint, record_of
from harness.papers.reasons import Reason
from harness.record import Record, Status
from harness.report import view
from tests.papers.papers import folder, three

RULES = rules.load()
ROOT = Path(__file__).resolve().parents[2]


def named(linted: Linted) -> set[str]:
    ids = ("reasons", "further_reasons")
    return {str(one) for found in linted.findings for name in ids for one in found.value(name) or ()}


def record(path: Path, **how: Any) -> Record:
    return record_of(lint(path, RULES), RULES, **how)


def written(path: Path, body: dict[str, Any]) -> Path:
    (path / "submission.json").write_text(json.dumps(body))
    return path


def test_no_reason_says_what_another_does_and_the_page_has_all() -> None:
    assert len(Reason.__members__) == len(list(Reason)) == len({one.says for one in Reason})
    assert (ROOT / "docs" / "reasons.md").read_text() == reasons.document()
    assert "too_few_seeds" in reasons.explained(Reason.TOO_FEW_SEEDS)


def test_what_is_not_in_order_names_a_reason_of_the_list(tmp_path: Path) -> None:
    case = open_case(folder(tmp_path), RULES)
    for status in (Status.FAIL, Status.INCONCLUSIVE, Status.NOT_RUN):
        with pytest.raises(ValueError, match="without a reason"):
            finding(case, "claims", status, "for no reason")
    assert finding(case, "claims", Status.PASS, "in order").value("reasons") is None
    assert not named(lint(case.papers.path, RULES))


@pytest.mark.parametrize(
    ("claims", "logs", "wanted"),
    [
        ({}, 1, {"too_few_seeds"}),
        ({"val_bpb": 1.05}, 3, {"score_not_in_logs", "mean_differs"}),
        ({"val_bpb": None, "seed_results": None}, 3, {"no_score_claimed"}),
        ({"bytes_total": None}, 0, {"no_scored_log", "bytes_not_shown", "time_not_shown", "no_loss", "no_log"}),
    ],
)
def test_a_folder_that_is_not_in_order_says_why(
    claims: dict[str, Any], logs: int, wanted: set[str], tmp_path: Path
) -> None:
    linted = lint(folder(tmp_path, three()[:logs], claims=claims), RULES)
    assert wanted <= named(linted) <= set(reasons.known())
    assert list(view.reasons(record_of(linted, RULES)))[:1], "and the record has them"


@pytest.mark.parametrize("score", [None, 0.0, "", "TBD", "pending"])
def test_work_in_progress_claims_nothing_and_lacks_nothing(score: object, tmp_path: Path) -> None:
    path = written(folder(tmp_path, []), {"name": "Soon", "author": "A", "track": "10min_16mb", "val_bpb": score})
    made = record(path)
    assert made.answers.claim.answer == "NOT_CLAIMED" and made.verdict == Status.NOT_APPLICABLE
    assert made.exit_code == 0 and record(path, fail_on_incomplete=True).exit_code == 0
    assert "no_score_claimed" in view.reasons(made)


def test_a_run_that_is_not_claimed_or_a_claim_without_a_run_is_incomplete(tmp_path: Path) -> None:
    logged = written(folder(tmp_path / "logged"), {"name": "Soon", "author": "A", "val_bpb": None})
    claimed = folder(tmp_path / "claimed", [])
    without = folder(tmp_path / "without", [])
    (without / "submission.json").unlink()
    for path in (logged, claimed, without):
        assert record(path).answers.claim.answer == "INCOMPLETE", path
        assert record(path, fail_on_incomplete=True).exit_code == 3


@pytest.mark.parametrize("field", ["val_bpb_ttt", "val_bpb_sliding", "validation_bpb", "mean_val_bpb"])
def test_other_names_of_the_score_are_read(field: str, tmp_path: Path) -> None:
    path = folder(tmp_path)
    body = json.loads((path / "submission.json").read_text())
    body[field] = body.pop("val_bpb")
    assert record(written(path, body)).answers.claim.answer == "SUPPORTED"


@pytest.mark.parametrize(("place", "asked"), [(0, True), (-1, False)])
def test_one_log_of_several_is_asked_about_where_it_flatters(place: int, asked: bool, tmp_path: Path) -> None:
    logs = three()
    value = round(sorted(log.bpb for log in logs)[place], 8)
    path = folder(tmp_path, logs, claims={"val_bpb": value, "seeds": None, "seed_results": None})
    linted = lint(path, RULES)
    assert linted.case.headline.how == "single"
    assert ("one_of_several" in named(linted)) is asked


def test_what_contradicts_is_told_from_what_is_only_asked(tmp_path: Path) -> None:
    path = folder(
        tmp_path, claims={"seed_results": {"42": {"val_bpb": 1.01}, "0": {"val_bpb": 1.08}}, "val_bpb": 1.045}
    )
    (path / "README.md").unlink()
    linted = lint(path, RULES)
    (claims,) = [found for found in linted.findings if found.id == "claims"]
    assert claims.status == Status.FAIL and claims.value("reasons") == ["seed_score_differs"]
    assert "no_readme" in claims.value("further_reasons")
    assert {"seed_score_differs", "no_readme"} <= set(view.reasons(record_of(linted, RULES)))

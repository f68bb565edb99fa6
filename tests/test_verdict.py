"""The decision: findings to three answers, one word and an exit code."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.audit import checks
from harness.audit.check import REGISTRY
from harness.papers import linting
from harness.record import Finding, Record, Status
from harness.report import html, junit, markdown, sarif, view
from harness.scripts.checks import judging
from harness.verdict import SEVERITY, Answers, Decision, Kind, Question, decide, from_papers, in_papers, question_of
from tests.report.records import record

ROOT = Path(__file__).parent.parent
SCORE, LIMITS, CLAIM = "causality", "size-limit", "significance"
KINDS: tuple[Kind, ...] = get_args(Kind)


def found(check: str, status: str, *, papers: bool = False, headline: str = "what it found") -> Finding:
    made = Status(status)
    asked = in_papers(question_of(check), made) if papers else question_of(check)
    return Finding(id=check, rule="C1", title="t", status=made, headline=headline, question=asked)


def words(answers: Answers) -> tuple[str, str, str]:
    return answers.score.answer, answers.limits.answer, answers.claim.answer


#: kind; findings as (id, status, from papers); answers; word; exit code, with --strict, with --fail-on incomplete.
CASES: list[tuple[Kind, list[tuple[str, str, bool]], tuple[str, str, str], str, tuple[int, int, int]]] = [
    (
        "adapter", [(SCORE, "PASS", False), (LIMITS, "PASS", False), (CLAIM, "PASS", False)],
        ("VALID", "WITHIN", "SUPPORTED"), "PASS", (0, 0, 0),
    ),
    (
        "adapter", [(SCORE, "FAIL", False), (LIMITS, "PASS", False), (CLAIM, "PASS", False)],
        ("INVALID", "WITHIN", "SUPPORTED"), "FAIL", (1, 1, 1),
    ),
    (
        "adapter", [(SCORE, "PASS", False), (LIMITS, "FAIL", False), (CLAIM, "INCONCLUSIVE", False)],
        ("VALID", "OVER", "INCOMPLETE"), "FAIL", (1, 1, 1),
    ),
    (
        "adapter", [(SCORE, "PASS", False), (LIMITS, "PASS", False), (CLAIM, "FAIL", False)],
        ("VALID", "WITHIN", "CONTRADICTED"), "FAIL", (1, 1, 1),
    ),
    # one seed of three: the score is valid, and the claim says that it is not shown
    (
        "adapter", [(SCORE, "PASS", False), (LIMITS, "PASS", False), (CLAIM, "INCONCLUSIVE", False)],
        ("VALID", "WITHIN", "INCOMPLETE"), "PASS", (0, 0, 3),
    ),
    (
        "adapter", [(SCORE, "UNRULED", False), (LIMITS, "PASS", False), (CLAIM, "NOT_RUN", False)],
        ("UNRULED", "WITHIN", "INCOMPLETE"), "UNRULED", (0, 1, 3),
    ),
    # between conventions of counting: within, said, and held against it by --strict only
    (
        "adapter", [(SCORE, "PASS", False), (LIMITS, "UNRULED", False), ("train-clock", "PASS", False)],
        ("VALID", "WITHIN", "NOT_CLAIMED"), "UNRULED", (0, 1, 0),
    ),
    (
        "adapter", [(SCORE, "NOT_RUN", False), (LIMITS, "PASS", False)],
        ("UNDECIDED", "WITHIN", "NOT_CLAIMED"), "INCONCLUSIVE", (3, 3, 3),
    ),
    (
        "adapter", [(SCORE, "PASS", False), (LIMITS, "INCONCLUSIVE", False)],
        ("VALID", "UNDECIDED", "NOT_CLAIMED"), "INCONCLUSIVE", (3, 3, 3),
    ),
    (
        "adapter", [(SCORE, "PASS", False), (CLAIM, "ERROR", False), (LIMITS, "NOT_APPLICABLE", False)],
        ("VALID", "NOT_APPLICABLE", "INCOMPLETE"), "ERROR", (4, 4, 4),
    ),
    ("adapter", [(SCORE, "ERROR", False)], ("UNDECIDED", "UNDECIDED", "NOT_CLAIMED"), "ERROR", (4, 4, 4)),
    ("adapter", [(SCORE, "ERROR", False), (LIMITS, "FAIL", False)],
     ("UNDECIDED", "OVER", "NOT_CLAIMED"), "FAIL", (1, 1, 1)),
    # not asked for is not undecided
    ("adapter", [(LIMITS, "PASS", False)], ("UNDECIDED", "WITHIN", "NOT_CLAIMED"), "PASS", (0, 0, 0)),
    ("adapter", [(SCORE, "NOT_APPLICABLE", False)], ("UNDECIDED", "UNDECIDED", "NOT_CLAIMED"), "INCONCLUSIVE",
     (3, 3, 3)),
    ("adapter", [], ("UNDECIDED", "UNDECIDED", "NOT_CLAIMED"), "INCONCLUSIVE", (3, 3, 3)),
    # a script's papers: what they do not show is a gap in the claim, what they contradict is a violation
    (
        "script", [(SCORE, "PASS", False), ("byte-accounting (evidence)", "INCONCLUSIVE", True),
                   ("train-clock", "NOT_RUN", True)],
        ("VALID", "UNDECIDED", "INCOMPLETE"), "PASS", (0, 0, 3),
    ),
    (
        "script", [(SCORE, "PASS", False), (LIMITS, "NOT_RUN", True), (CLAIM, "PASS", True)],
        ("VALID", "UNDECIDED", "SUPPORTED"), "PASS", (0, 0, 3),
    ),
    (
        "script", [(SCORE, "PASS", False), ("byte-accounting (evidence)", "FAIL", True)],
        ("INVALID", "UNDECIDED", "NOT_CLAIMED"), "FAIL", (1, 1, 1),
    ),
    (
        "script", [(SCORE, "INCONCLUSIVE", False), ("data-split", "PASS", True), (LIMITS, "PASS", True)],
        ("UNDECIDED", "WITHIN", "NOT_CLAIMED"), "INCONCLUSIVE", (3, 3, 3),
    ),
    # a folder that was only read is never VALID
    (
        "evidence", [("byte-accounting", "PASS", True), (LIMITS, "PASS", True), (CLAIM, "PASS", True)],
        ("UNDECIDED", "WITHIN", "SUPPORTED"), "PASS", (0, 0, 0),
    ),
    (
        "evidence", [("byte-accounting", "NOT_RUN", True), (LIMITS, "PASS", True), (CLAIM, "PASS", True)],
        ("UNDECIDED", "WITHIN", "INCOMPLETE"), "INCONCLUSIVE", (0, 0, 3),
    ),
    ("evidence", [("data-split", "FAIL", True)], ("INVALID", "UNDECIDED", "NOT_CLAIMED"), "FAIL", (1, 1, 1)),
    ("evidence", [("eval-clock", "UNRULED", True)], ("UNDECIDED", "WITHIN", "NOT_CLAIMED"), "UNRULED", (0, 1, 0)),
    ("evidence", [("claims", "FAIL", True)], ("UNDECIDED", "UNDECIDED", "CONTRADICTED"), "FAIL", (1, 1, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "findings", "answers", "verdict", "codes"), CASES)
def test_cases(
    kind: Kind,
    findings: list[tuple[str, str, bool]],
    answers: tuple[str, str, str],
    verdict: str,
    codes: tuple[int, int, int],
) -> None:
    made = decide([found(check, status, papers=papers) for check, status, papers in findings], kind)
    assert (words(made.answers), made.verdict) == (answers, verdict)
    assert (made.exit_code(), made.exit_code(strict=True), made.exit_code(fail_on_incomplete=True)) == codes


def test_a_finding_that_names_no_question_counts_for_that_of_its_check() -> None:
    assert {*checks.CHECKS, *judging.CHECKS, *linting.CHECKS} == set(REGISTRY)
    for name, check in REGISTRY.items():
        assert question_of(name) == question_of(f"{name} (evidence)") == check.question


IDS = st.sampled_from(sorted(REGISTRY))
FINDINGS = st.lists(st.builds(found, IDS, st.sampled_from([str(one) for one in Status]), papers=st.booleans()))
RANK: dict[Question, tuple[str, ...]] = {
    "score": ("INVALID", "UNDECIDED", "UNRULED", "VALID"),
    "limits": ("OVER", "UNDECIDED", "WITHIN", "NOT_APPLICABLE"),
    "claim": ("CONTRADICTED", "INCOMPLETE", "SUPPORTED", "NOT_CLAIMED"),
}
#: How bad the worst status makes an answer: the place in `RANK`.
LEVEL: dict[Question, dict[str, int]] = {
    "score": {"FAIL": 0, "ERROR": 1, "INCONCLUSIVE": 1, "NOT_RUN": 1, "UNRULED": 2, "PASS": 3},
    "limits": {"FAIL": 0, "ERROR": 1, "INCONCLUSIVE": 1, "NOT_RUN": 1, "UNRULED": 2, "PASS": 2, "NOT_APPLICABLE": 3},
    "claim": {"FAIL": 0, "ERROR": 1, "INCONCLUSIVE": 1, "NOT_RUN": 1, "UNRULED": 2, "PASS": 2, "NOT_APPLICABLE": 3},
}


@given(FINDINGS, st.sampled_from(["adapter", "script"]))
def test_the_worst_finding_of_a_question_decides_it(findings: list[Finding], kind: Kind) -> None:
    made = decide(findings, kind)
    for question, answer in made.answers.items():
        of_it = [one for one in findings if one.question == question]
        levels = [LEVEL[question][one.status] for one in of_it if one.status in LEVEL[question]]
        if levels:
            assert answer.answer == RANK[question][min(levels)]
            assert set(answer.because) <= {one.id for one in of_it} and answer.because
            worst = min(SEVERITY.index(one.status) for one in of_it)
            assert any(SEVERITY.index(one.status) == worst for one in of_it if one.id in answer.because)
        assert answer.sentence and "\n" not in answer.sentence


@given(FINDINGS, IDS, st.sampled_from(KINDS))
def test_one_more_pass_never_changes_an_answer(findings: list[Finding], check: str, kind: Kind) -> None:
    """Nor does it turn a verdict around; it may be the first that a question hears."""
    more = found(check, "PASS")
    before, after = decide(findings, kind), decide([*findings, more], kind)
    for (question, one), (_, other) in zip(before.answers.items(), after.answers.items(), strict=True):
        heard = any(f.question == question and f.status != Status.NOT_APPLICABLE for f in findings)
        if question != more.question or heard:
            assert one.answer == other.answer
    if any(one.status != Status.NOT_APPLICABLE for one in findings):
        assert before.verdict == after.verdict


@given(FINDINGS, st.lists(st.tuples(st.sampled_from(["claims", "significance"]), st.sampled_from(list(Status)))))
def test_a_finding_on_the_claim_never_changes_score_or_limits(
    findings: list[Finding], claims: list[tuple[str, Status]]
) -> None:
    for kind in KINDS:
        before = decide(findings, kind)
        after = decide([*findings, *(found(check, status) for check, status in claims)], kind)
        assert before.answers.score == after.answers.score and before.answers.limits == after.answers.limits


@given(FINDINGS)
def test_papers_alone_are_never_valid(findings: list[Finding]) -> None:
    answer = decide(findings, "evidence").answers.score
    assert answer.answer in ("INVALID", "UNDECIDED")
    assert answer.answer == "INVALID" or "nothing was run" in answer.sentence


@given(FINDINGS, st.sampled_from(KINDS), st.booleans(), st.booleans())
def test_exit_codes_follow_from_the_answers(findings: list[Finding], kind: Kind, strict: bool, gaps: bool) -> None:
    made: Decision = decide(findings, kind)
    code = made.exit_code(strict=strict, fail_on_incomplete=gaps)
    violated = {"INVALID", "OVER", "CONTRADICTED"} & set(words(made.answers))
    assert (code == 1) == bool(violated) or (code == 1 and strict and made.unruled)
    assert code in (0, 1, 3, 4) and made.exit_code() in {code, 0}
    if not violated and any(one.status == Status.ERROR for one in findings):
        assert code == 4
    if made.verdict == Status.PASS and not gaps:
        assert code == 0


def test_sentences_name_the_check_and_what_it_found() -> None:
    answers = decide(
        [
            found("causality", "FAIL", headline="12 rows moved"),
            found("null-stream", "FAIL", headline="194 nats"),
            found("size-limit", "PASS", headline="9 of 10 bytes"),
            found("train-clock", "NOT_APPLICABLE"),
            found("significance", "NOT_RUN", headline="no seed has a score"),
            found("claims", "INCONCLUSIVE", headline="no log"),
        ]
    ).answers
    assert answers.score.because == ["causality", "null-stream"]
    assert answers.score.sentence.startswith(
        "causality and null-stream show that this score cannot be believed: 12 rows"
    )
    assert answers.limits.sentence == "every limit that applies is kept: 9 of 10 bytes; train-clock does not apply"
    assert answers.claim.sentence.endswith("claims: no log (also open: significance)")
    two = [found("normalization", "NOT_RUN", headline="the time was up"), found("causality", "PASS")]
    assert decide(two).answers.score.sentence == "normalization was not run: the time was up"


# --- records of the first format

KEPT = sorted((ROOT / "reports" / "records").glob("*.json"))


def first(**changes: Any) -> dict[str, Any]:
    """A record as it was written before it held answers."""
    body: dict[str, Any] = json.loads(record([found("causality", "PASS")]).to_json())
    body |= {"schema": "harness.record/1", **changes}
    del body["answers"]
    for one in body["findings"]:
        one.pop("question", None)
    loaded = Record.model_validate(body)
    return {**body, "digest": loaded.computed_digest()}


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_records_load_and_verify_in_every_view(path: Path) -> None:
    body = json.loads(path.read_text())
    loaded = Record.load(path)
    assert loaded.digest == loaded.computed_digest() == body["digest"] and view.doubts(loaded) == []
    assert (loaded.schema_, loaded.verdict, loaded.exit_code) == (body["schema"], body["verdict"], body["exit_code"])
    score, limits, claim = words(loaded.answers)
    known = {"PASS": "VALID", "FAIL": "INVALID", "UNRULED": "UNRULED"}
    assert (score, limits, claim) == (known[body["verdict"]], "WITHIN", "NOT_CLAIMED")
    again = Record.model_validate_json(loaded.to_json())
    assert again == loaded and again.computed_digest() == body["digest"]


def test_there_are_kept_records_of_every_verdict() -> None:
    assert {json.loads(path.read_text())["verdict"] for path in KEPT} == {"PASS", "FAIL", "UNRULED"}


def test_a_record_of_the_first_format_keeps_its_verdict_and_its_bytes() -> None:
    """One seed of three was INCONCLUSIVE then, exit code 3; the answers tell what that was."""
    shown = [
        {"id": "causality", "rule": "C1", "title": "t", "status": "PASS", "headline": "nothing"},
        {"id": "significance", "rule": "S", "title": "t", "status": "INCONCLUSIVE", "headline": "one seed of three"},
    ]
    body = first(findings=shown, verdict="INCONCLUSIVE", exit_code=3)
    loaded = Record.model_validate(body)
    assert loaded.verdict == Status.INCONCLUSIVE and view.doubts(loaded) == []
    assert words(loaded.answers) == ("VALID", "UNDECIDED", "INCOMPLETE")
    assert "answers" not in json.loads(loaded.to_json())
    assert not any("question" in one for one in json.loads(loaded.to_json())["findings"])
    page = html.render(loaded)
    assert "VALID" in page and "one seed of three" in page and "INCOMPLETE" in markdown.render(loaded)
    assert 'name="claim" value="INCOMPLETE"' in junit.render(loaded)
    properties = json.loads(sarif.render(loaded))["runs"][0]["properties"]
    assert properties["answers"]["score"]["answer"] == "VALID"


def test_papers_of_a_first_format_script_are_known_by_their_ids() -> None:
    assert from_papers("byte-accounting (evidence)", "script") and from_papers("data-split", "script")
    assert not from_papers("byte-accounting", "script") and not from_papers("data-split", "adapter")
    assert from_papers("byte-accounting", "evidence")
    shown = [
        {"id": "causality", "rule": "C1", "title": "t", "status": "PASS", "headline": "nothing"},
        {"id": "data-split", "rule": "D", "title": "t", "status": "NOT_RUN", "headline": "no log"},
    ]
    body = first(findings=shown, verdict="NOT_RUN", exit_code=3)
    body["submission"]["kind"] = "script"
    assert words(Record.model_validate(body).answers) == ("VALID", "UNDECIDED", "INCOMPLETE")


# --- what views make of it


def test_a_record_whose_answers_are_not_those_of_its_findings_is_doubted() -> None:
    honest = record([found("causality", "FAIL")])
    other = decide([found("causality", "PASS")]).answers
    forged = honest.model_copy(update={"answers": other}).sealed()
    assert view.doubts(honest) == []
    assert view.doubts(forged) == ["The findings do not add up to the answers that this record gives."]


def test_an_incomplete_claim_is_said_loudly_and_does_not_hide_that_the_score_is_valid() -> None:
    made = record([found("causality", "PASS"), found("size-limit", "PASS"), found("significance", "INCONCLUSIVE")])
    assert made.exit_code == 0 and view.counts(made)
    assert "The claim is INCOMPLETE" in view.outcome_sentence(made)
    for shown in (html.render(made), markdown.render(made)):
        assert "INCOMPLETE" in shown and "The claim is INCOMPLETE" in shown
    asked = made.model_copy(update={"exit_code": 3}).sealed()  # --fail-on incomplete
    assert view.doubts(asked) == []


def test_a_title_names_over_and_contradicted_beside_the_score() -> None:
    over = record([found("causality", "PASS"), found("size-limit", "FAIL"), found("claims", "FAIL")])
    assert view.title(over)[0] == "VALID, OVER, CONTRADICTED" and view.title(over)[1].tone == "bad"
    assert view.decisive(over).word == "OVER" and not view.counts(over) and view.violated(over)
    assert view.title(record([found("causality", "PASS"), found("significance", "NOT_RUN")]))[0] == "VALID"


def test_answers_are_plain_data() -> None:
    made = decide([found("causality", "PASS")])
    assert [field.name for field in dataclasses.fields(made)][:2] == ["answers", "verdict"]
    assert Answers.model_validate_json(made.answers.model_dump_json()) == made.answers

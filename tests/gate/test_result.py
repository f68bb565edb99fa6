"""Exit codes, keys, and what is believed of results that are there already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.audit.checks import select
from harness.gate import keys
from harness.gate.result import (
    SEVERITY,
    FailOn,
    Flag,
    GateResult,
    Harness,
    Judged,
    Reply,
    Revisions,
    Verdict,
    conclusion_of,
    exit_code_of,
)
from harness.gate.run import Request
from harness.gate.stages import left_out
from harness.gate.store import ENTRY, Store, in_ci, mark, take
from harness.git import Repository
from harness.record import SEVERITY as RECORD_SEVERITY
from harness.record import Finding, Record, RulesetInfo, Status
from harness.record import exit_code_of as record_exit_code
from tests.gate.repository import Scratch
from tests.report.records import record


def result(
    verdicts: list[Verdict | None], fail_on: FailOn, *, blocks: bool = False, complete: bool = True
) -> GateResult:
    return GateResult(
        complete=complete, tier="full", fail_on=fail_on,
        revisions=Revisions(base="a" * 40, head="b" * 40, merge_base="a" * 40),
        harness=Harness(version="1", sha256="c" * 64), ruleset=RulesetInfo(name="r", title="t", sha256="d" * 64),
        flags=[Flag(id="judge-and-submissions", blocks=blocks, text="")],
        submissions=[Judged(path="p", folder="p", how="added", verdict=verdict) for verdict in verdicts],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "fail", "inconclusive", "unruled"),
    [
        ("FAIL", 1, 1, 1),
        ("ERROR", 4, 4, 4),
        ("BROKEN", 2, 2, 2),
        ("INCONCLUSIVE", 0, 3, 3),
        ("NOT_RUN", 0, 3, 3),
        ("UNRULED", 0, 0, 1),
        ("PASS", 0, 0, 0),
        (None, 3, 3, 3),
    ],
)
def test_exit_codes(verdict: Verdict | None, fail: int, inconclusive: int, unruled: int) -> None:
    assert [exit_code_of(result([verdict], level)) for level in ("fail", "inconclusive", "unruled")] == [
        fail, inconclusive, unruled,
    ]  # fmt: skip


def test_the_default_lets_pass_what_is_undecided_and_calls_it_neutral() -> None:
    assert Request(Path(), "a", "b", Path()).fail_on == "fail"
    for verdict, conclusion in (("PASS", "success"), ("UNRULED", "success"), ("INCONCLUSIVE", "neutral"),
                                ("NOT_RUN", "neutral"), ("FAIL", "failure"), ("ERROR", "failure"),
                                ("BROKEN", "failure")):  # fmt: skip
        made = result([verdict], "fail")  # type: ignore[list-item]
        made.submissions[0].headline = "why"
        found, reason = conclusion_of(made)
        assert found == conclusion and (conclusion == "success") == (reason != "why")
        assert (exit_code_of(made) == 0) == (found != "failure")


def test_papers_that_say_too_little_are_neutral_with_a_reason_and_held_against_it_on_request() -> None:
    limits = Reply(question="limits", answer="UNDECIDED", sentence="no log states a time")
    claim = Reply(question="claim", answer="INCOMPLETE", sentence="one seed of three")
    for kind, answers, open_one in (("script", [limits], True), ("adapter", [claim], True), ("adapter", [], False)):
        made = result(["PASS"], "fail")
        made.submissions[0].kind = kind  # type: ignore[assignment]
        made.submissions[0].answers = answers
        assert conclusion_of(made)[0] == ("neutral" if open_one else "success") and exit_code_of(made) == 0
        assert not open_one or answers[0].sentence in conclusion_of(made)[1]
        assert exit_code_of(made.model_copy(update={"fail_on": "incomplete"})) == (3 if open_one else 0)


@pytest.mark.parametrize("fail_on", get_args(FailOn))
def test_a_gate_that_did_not_come_to_its_end_is_no_pass_and_says_why(fail_on: FailOn) -> None:
    for verdicts, code in (([], 3), (["PASS"], 3), (["PASS", None], 3), (["FAIL", None], 1), (["ERROR", None], 4)):
        made = result(verdicts, fail_on, complete=False)  # type: ignore[arg-type]
        made.unfinished = "the data are not there"
        for one in made.submissions:
            one.headline = "why" if one.verdict else ""
        said = "why" if code != 3 else "the data are not there"
        assert exit_code_of(made) == code and conclusion_of(made) == ("failure", said)
        made.unfinished = ""
        assert conclusion_of(made)[1] == (said if code != 3 else "the gate did not come to its end")


def test_a_pull_request_that_has_to_be_split_fails_with_that_reason() -> None:
    made = result(["PASS"], "fail", blocks=True)
    made.flags[0].text = "make it two"
    assert conclusion_of(made) == ("failure", "make it two")


def test_inconclusive_is_what_a_record_returns_and_the_strictest_what_strict_does() -> None:
    for status in RECORD_SEVERITY:
        assert exit_code_of(result([status.value], "inconclusive")) == record_exit_code(status)
        assert exit_code_of(result([status.value], "unruled")) == record_exit_code(status, strict=True)


@given(st.lists(st.sampled_from(SEVERITY), max_size=5), st.sampled_from(get_args(FailOn)), st.booleans())
def test_of_several_the_weightiest_counts(verdicts: list[Verdict], fail_on: FailOn, blocks: bool) -> None:
    alone = {exit_code_of(result([verdict], fail_on)) for verdict in verdicts} | ({1} if blocks else set())
    code = exit_code_of(result(list(verdicts), fail_on, blocks=blocks))
    assert code == next((one for one in (1, 4, 2, 3) if one in alone), 0)
    assert exit_code_of(result([*verdicts, "FAIL"], fail_on)) == 1


def test_a_tier_says_what_it_leaves_out_of_each_kind() -> None:
    adapters, scripts = left_out({"adapter"}, "quick"), left_out({"script"}, "quick")
    assert {"causality", "null-stream", "determinism", "score-before-update"} <= set(adapters)
    assert {"causality", "determinism", "warm-up"} <= set(scripts) and "isolation" not in scripts
    both = left_out({"adapter", "script"}, "quick")
    assert set(both) == {*adapters, *scripts} and len(set(both)) == len(both)
    assert set(left_out({"adapter"}, "papers")) == set(select("all"))
    assert set(left_out({"script"}, "papers")) > set(scripts)
    assert left_out(set(), "quick") == left_out({"adapter", "script"}, "full") == []


@pytest.mark.parametrize(("value", "ci"), [("true", True), ("1", True), ("", False), ("0", False), ("False", False)])
def test_ci_is_told_by_its_variable(value: str, ci: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", value)
    assert in_ci() is ci
    monkeypatch.delenv("CI")
    assert in_ci() is False


KEY = "a" * 64


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A stage's folder, as the gate leaves it."""
    found = Finding(id="causality", rule="C1", title="Causality", status=Status.FAIL, headline="it leaks")
    home = tmp_path / "made"
    home.mkdir()
    (home / "record.json").write_text(record([found]).to_json())
    (home / "report.html").write_text("<!doctype html>")
    mark(home, KEY)
    return home


def test_a_store_gives_back_what_was_put_there_by_the_same_key_only(made: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", readable=True)
    assert store.record(KEY, tmp_path / "out") is None
    store.keep_record(KEY, made)
    found = store.record(KEY, tmp_path / "out")
    assert found == Record.load(made) == take(tmp_path / "out", KEY)
    assert store.record("b" * 64, tmp_path / "none") is None and not (tmp_path / "none").exists()
    assert take(made, "b" * 64) is None
    assert Store(tmp_path / "cache", readable=False).record(KEY, tmp_path / "ci") is None
    assert not (tmp_path / "ci").exists() and Store(None, readable=True).record(KEY, tmp_path / "ci") is None


@pytest.mark.parametrize("how", ["record", "report", "no report", "entry", "no entry", "verdict with new sums"])
def test_a_result_that_was_tampered_with_is_not_believed(made: Path, tmp_path: Path, how: str) -> None:
    store = Store(tmp_path / "cache", readable=True)
    store.keep_record(KEY, made)
    kept = tmp_path / "cache" / "records" / KEY
    text = (kept / "record.json").read_text()
    if how == "record":
        (kept / "record.json").write_text(text + " ")
    elif how == "report":
        (kept / "report.html").write_text("PASS")
    elif how in ("no report", "no entry"):
        (kept / {"no report": "report.html", "no entry": ENTRY}[how]).unlink()
    elif how == "entry":
        (kept / ENTRY).write_text(json.dumps([KEY]))
    else:
        (kept / "record.json").write_text(text.replace("FAIL", "PASS"))
        mark(kept, KEY)
    assert take(kept, KEY) is None and store.record(KEY, tmp_path / "out") is None
    store.keep_record(KEY, made)
    assert store.record(KEY, tmp_path / "out") is not None, "what is damaged is replaced"


def test_a_key_depends_on_every_part_and_on_its_name() -> None:
    parts: dict[str, object] = {"artifact": "x", "code": "y", "rules": "z", "data": "d", "harness": "h", "device": "c"}
    all_keys = {keys.key(**parts), *(keys.key(**{**parts, name: "other"}) for name in parts)}
    assert len(all_keys) == 7 and keys.key(**dict(reversed(parts.items()))) == keys.key(**parts)
    assert keys.key(a="b", c="") != keys.key(a="", c="b")


def test_the_base_may_hold_another_harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = Scratch(tmp_path / "repo.git")
    own = {"__init__.py": b"1\n", "gate/run.py": b"2\n", "rules/strict.toml": b"3\n"}
    monkeypatch.setattr(keys, "own_files", lambda: own)
    repository = Repository(scratch.path)

    def differs(files: dict[str, bytes]) -> bool | None:
        return keys.differs_from(repository, scratch.commit({f"harness/{name}": text for name, text in files.items()}))

    assert differs(own) is False
    assert differs({**own, "rules/strict.toml": b"4\n"}) is True
    assert differs({**own, "more.py": b""}) is True
    assert differs({name: own[name] for name in ("__init__.py", "gate/run.py")}) is True
    assert differs({"other.py": b""}) is None

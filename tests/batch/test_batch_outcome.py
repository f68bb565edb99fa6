"""From how a process ended to a row, and from rows to the summary."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from harness.batch import summary
from harness.batch.outcome import Outcome, kept, settle
from harness.batch.playing import Ended
from harness.batch.tasks import Task
from harness.record import Record, Status
from harness.report import view
from tests.report.records import failing


def task(home: Path, *, seconds: float | None = 10.0, data: str | None = None, key: str = "k") -> Task:
    home.mkdir(parents=True, exist_ok=True)
    return Task("label", home, ("lint",), key, home, seconds, data)


def record(home: Path, verdict: Status, code: int, data: str = "d" * 64) -> Record:
    made = failing()
    made = made.model_copy(
        update={"verdict": verdict, "exit_code": code, "data": made.data.model_copy(update={"sha256": data})}
    )
    (home / "record.json").write_text(made.to_json())
    return made


def test_a_record_speaks_for_itself(tmp_path: Path) -> None:
    one = task(tmp_path / "records" / "one")
    made = record(one.home, Status.FAIL, 1)
    outcome = settle(one, Ended(1, 2.5, "bye"), tmp_path)
    assert (outcome.outcome, outcome.exit_code, outcome.home) == ("FAIL", 1, "records/one")
    assert set(outcome.failed) == {found.id for found in made.findings if found.status == Status.FAIL}
    assert made.score is not None and outcome.val_bpb == made.score.val_bpb
    assert (outcome.score, outcome.limits, outcome.claim) == ("INVALID", "WITHIN", "NOT_CLAIMED")
    assert outcome.headline.startswith("causality shows that this score cannot be believed: ")
    assert kept(one) == outcome
    assert kept(task(one.home, key="another")) is None
    (one.home / "record.json").unlink()
    assert kept(one) is None, "without its record it is judged again"


@pytest.mark.parametrize(
    ("ended", "outcome", "code", "says", "again"),
    [
        (Ended(2, 1.0, "harness: x has no submission.json"), "UNUSABLE", 2, "x has no submission.json", False),
        (Ended(4, 1.0, "harness: cannot write"), "CRASHED", 4, "cannot write", True),
        (Ended(-9, 1.0, "half a line"), "CRASHED", 4, "killed by signal 9; it said last: half a line", True),
        (Ended(0, 1.0, ""), "CRASHED", 4, "it said nothing", True),
        (Ended(None, 1.0, "Ray gave up"), "CRASHED", 4, "Ray gave up", True),
        (Ended(None, 10.0, "still running after 10 s", timed_out=True), "TIMEOUT", 3, "still running", False),
    ],
)
def test_what_left_no_record(ended: Ended, outcome: str, code: int, says: str, again: bool, tmp_path: Path) -> None:
    one = task(tmp_path / "one")
    made = settle(one, ended, tmp_path)
    assert (made.outcome, made.exit_code) == (outcome, code) and says in made.headline
    assert (kept(one) is None) == again


@pytest.mark.parametrize(("claim", "shown"), [(1.1, 1.1), ("1.1", 1.1), ("soon", None), ("NaN", None), (True, None)])
def test_the_claimed_score_is_what_reports_show(claim: object, shown: float | None, tmp_path: Path) -> None:
    one = task(tmp_path / "one")
    made = record(one.home, Status.PASS, 0)
    made.submission.claims["val_bpb"] = claim
    (one.home / "record.json").write_text(made.to_json())
    assert settle(one, Ended(0, 1.0), tmp_path).claimed_bpb == view.claimed_bpb(made) == shown


def test_a_record_that_the_process_does_not_stand_by_is_none(tmp_path: Path) -> None:
    one = task(tmp_path / "one")
    record(one.home, Status.PASS, 0)
    assert settle(one, Ended(-9, 1.0), tmp_path).outcome == "CRASHED"


def test_other_data_on_a_machine_is_not_a_result(tmp_path: Path) -> None:
    one = task(tmp_path / "one", data="e" * 64)
    record(one.home, Status.PASS, 0, data="e" * 64)
    assert settle(one, Ended(0, 1.0), tmp_path).outcome == "PASS"
    record(one.home, Status.PASS, 0, data="f" * 64)
    assert settle(one, Ended(0, 1.0), tmp_path).outcome == "CRASHED"


def test_a_longer_limit_is_a_new_try(tmp_path: Path) -> None:
    one = task(tmp_path / "one", seconds=10.0)
    settle(one, Ended(None, 10.0, timed_out=True), tmp_path)
    assert kept(task(one.home, seconds=5.0)) is not None and kept(task(one.home, seconds=10.0)) is not None
    assert kept(task(one.home, seconds=11.0)) is None and kept(task(one.home, seconds=None)) is None


def test_ctrl_c_in_an_item_is_ours_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        settle(task(tmp_path / "one"), Ended(130, 1.0), tmp_path)
    assert not (tmp_path / "one" / "item.json").exists()


ROWS = [
    Outcome(label="pass", outcome="PASS", exit_code=0, seconds=1.0),
    Outcome(label="open", outcome="INCONCLUSIVE", exit_code=3),
    Outcome(label="late", outcome="TIMEOUT", exit_code=3),
    Outcome(label="broken", outcome="UNUSABLE", exit_code=2, headline='=HYPERLINK("http://x")'),
    Outcome(label="gone", outcome="CRASHED", exit_code=4),
    Outcome(label="one", outcome="FAIL", exit_code=1, failed=("causality",), headline="row 3 moved"),
    Outcome(label="two", outcome="FAIL", exit_code=1, failed=("causality", "single-pass"), val_bpb=1.25),
    Outcome(label="unruled", outcome="UNRULED", exit_code=0, score="UNRULED", limits="WITHIN", claim="INCOMPLETE"),
]
ORDER = ["two", "one", "gone", "broken", "open", "late", "unruled", "pass"]


def test_the_worst_comes_first_everywhere(tmp_path: Path) -> None:
    summary.write(ROWS, tmp_path, {"ruleset": "r"})
    body = json.loads((tmp_path / "batch.json").read_text())
    assert [row["label"] for row in body["items"]] == ORDER
    assert body["exit_code"] == 1 and body["counts"]["FAIL"] == 2 and body["seconds"]["pass"] == 1.0
    with (tmp_path / "batch.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ORDER
    assert rows[0]["failed"] == "causality single-pass" and float(rows[0]["val_bpb"]) == 1.25
    assert [rows[6][name] for name in ("score", "limits", "claim")] == ["UNRULED", "WITHIN", "INCOMPLETE"]
    assert [rows[0][name] for name in ("score", "limits", "claim")] == ["", "", ""], "there is no record"
    assert rows[3]["headline"].startswith("'="), "a spreadsheet must not compute what a submission says"
    text = StringIO()
    summary.show(ROWS, Console(file=text, width=200), tmp_path)
    lines = text.getvalue().splitlines()
    assert lines[0].split()[:4] == ["score", "limits", "claim", "submission"]
    assert [line.split()[1] for line in lines[1:7]] == ORDER[:6] and lines[8].split()[1] == "pass"
    assert lines[7].split()[:4] == ["UNRULED", "WITHIN", "INCOMPLETE", "unruled"]
    assert lines[-1] == "exit code 1, a rule is violated: two and 1 more"


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((0, 0), 0), ((0, 3), 3), ((3, 2), 2), ((2, 4, 3), 4), ((4, 1, 2), 1), ((), 0)],
)
def test_the_exit_code_is_the_worst_item_s(codes: tuple[int, ...], expected: int) -> None:
    rows = [Outcome(label=str(index), outcome="X", exit_code=code) for index, code in enumerate(codes)]
    assert summary.worst(rows) == expected


def test_only_seconds_differ_between_two_equal_batches(tmp_path: Path) -> None:
    bodies = []
    for seconds in (1.0, 2.0):
        summary.write([row.model_copy(update={"seconds": seconds}) for row in ROWS], tmp_path, {})
        body = json.loads((tmp_path / "batch.json").read_text())
        body.pop("seconds")
        bodies.append(json.dumps(body))
    assert bodies[0] == bodies[1]

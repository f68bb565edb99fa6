"""The command that replays a finding: one for all views, and a shell reads in it what was meant."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.record import PLACES, Finding, Record, Status, Witness
from harness.report import view
from harness.text import shell

from . import records
from .commands import copied, shown, standing

ODD = [
    "runs/my record.json", "it's/`a`/$HOME/record.json", "::error/##[x]/record.json", "two  blanks/r.json",
    "new\nline/\u202e/é/record.json", "-rf/record.json", "*/{a,b}|c&d;e<f>.json",
    "e\u0301\u0301\u0301\u0301\u0301/r.json", "\U0001f3cc/a.json",
]  # fmt: skip


def placed(place: str, **changes: object) -> Record:
    """A record with one failed check, whose witness quotes a line, at some place."""
    witness = Witness(kind="evidence", summary="s", data={"quotes": [{"file": "a.log", "line": 3, "text": "x"}]})
    found = Finding(id="claims", rule="claims", title="t", status=Status.FAIL, headline="h", witness=witness)
    made = records.record([found])
    return made.model_copy(update={"environment": {**made.environment, PLACES: {"record": place}, **changes}})


@pytest.mark.parametrize("place", ODD)
def test_every_view_has_one_command_and_the_shell_reads_the_path(place: str) -> None:
    seen = copied(placed(place))
    (command,) = {tuple(commands) for commands in seen.values()}
    assert len(command) == 1, seen
    echo = command[0].replace("harness replay", "printf '%s\\0'", 1)
    said = subprocess.run(["bash", "-c", echo], capture_output=True, check=True).stdout.decode()
    assert said.split("\0")[:-1] == [f"./{place}" if place.startswith("-") else place, "claims"]


@pytest.mark.parametrize("count", [1, 6, 8])
def test_every_view_for_people_gives_the_same_files_and_lines_beside_it(count: int) -> None:
    quotes = [{"file": f"log {n}.txt", "line": n + 3, "text": f"x{n}"} for n in range(count)]
    record = placed("r.json")
    record.findings[0].witness = Witness(kind="evidence", summary="s", data={"quotes": quotes})
    (places,) = {tuple(found) for found in standing(record).values()}
    assert list(places) == [f"log {n}.txt:{n + 3}" for n in range(min(count, 6))]
    for view_, text in shown(record).items():
        assert (f"and {count - 6} more in record.json" in text) == (count > 6), view_


def test_a_witness_without_a_line_has_no_place_in_any_view() -> None:
    assert standing(records.failing()) == {"terminal": [], "html": [], "markdown": []}


def test_every_view_for_people_counts_bytes_by_the_same_conventions_in_the_same_words() -> None:
    three = {"shipped": 821_465, "wrapped": 816_216, "all_files": 16_000_001}
    record = records.passing()
    assert record.artifact is not None
    record.artifact.total = three
    said = "812,345 bytes"
    with_code = "with code 821,465 shipped, 816,216 wrapped (decides), 16,000,001 all files, of 16,000,000"
    for view_, text in shown(record).items():
        assert said in text and with_code in text, view_


def test_what_only_papers_count_is_in_every_view_too() -> None:
    rows = [["as the log adds up", 15_975_933], ["with the script as shipped", 15_975_000]]
    metrics = [*records.numbers(totals=rows, limit_bytes=16_000_000)]
    found = Finding(id="size-limit", rule="size", title="t", status=Status.PASS, headline="h", metrics=metrics)
    record = records.record([found], artifact=None, score=None)
    for view_, text in shown(record).items():
        assert "15,975,933 as the log adds up, 15,975,000 with the script as shipped, of 16,000,000" in text, view_


@pytest.mark.parametrize("word", ODD)
def test_a_word_is_quoted_only_where_it_has_to_be(word: str) -> None:
    said = subprocess.run(["bash", "-c", f"printf %s {shell(word)}"], capture_output=True, check=True).stdout
    assert said.decode() == word
    assert shell("runs/a_b-c.d/record.json") == "runs/a_b-c.d/record.json"


def test_what_was_run_without_a_box_says_so_and_nothing_else_does() -> None:
    bare, boxed = (placed("r.json", sandbox={"name": name}) for name in ("none", "native"))
    assert view.replay(bare, bare.findings[0]) == "harness replay r.json claims --sandbox none"
    assert view.replay(boxed, boxed.findings[0]) == "harness replay r.json claims"


def test_an_older_record_is_replayed_beside_itself_and_a_pass_not_at_all() -> None:
    record = records.failing()
    failed = next(one for one in record.findings if one.id == "causality")
    assert view.replay(record, failed) == "harness replay record.json causality"
    assert view.replay_in(record) == "the folder of the record"
    assert view.replay_in(placed("r.json")) == "the folder in which the harness was run"
    assert view.replay(record, next(one for one in record.findings if one.status == Status.PASS)) is None


def test_a_record_says_where_it_lies_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record = records.failing()
    made = record.placed(tmp_path / "a" / "record.json", Path("sub"))
    assert made.environment[PLACES] == {"record": "a/record.json", "submission": "sub"}
    assert made.computed_digest() == record.computed_digest()
    moved = made.placed(tmp_path.parent / "record.json")
    assert moved.environment[PLACES] == {"record": "../record.json", "submission": "sub"}

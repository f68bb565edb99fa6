from __future__ import annotations

import csv
import html
import io
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.errors import HarnessError
from harness.record import Finding, Record, Status
from harness.report import badge, compare, view
from harness.report.board import Entry, render, standings, to_csv
from harness.report.significant import beats

from . import records
from .test_html import HOSTILE, Outline, spoiled

CELLS = [*HOSTILE, "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", '",=1,"', "a\nb,c"]

FRONT, NEXT, LAST = [1.0801, 1.0803, 1.0799], [1.0810, 1.0812, 1.0808], [1.0811, 1.0809, 1.0810]


def entries(*made: Record) -> list[Entry]:
    return [Entry(record) for record in made]


def contest() -> list[Entry]:
    return entries(
        records.scored("last", LAST),
        records.scored("next", NEXT, status=Status.UNRULED),
        records.scored("leaks", [0.93, 0.931, 0.932], status=Status.FAIL),
        records.scored("adapts", [1.07, 1.0702, 1.0701], track="B"),
        records.scored("front", FRONT),
    )


def test_tracks_are_apart_and_only_what_counts_has_a_rank() -> None:
    tables = standings(contest())
    assert [table.track for table in tables] == ["A", "B"]
    rows = [(line.rank, line.entry.record.submission.name, line.group) for line in tables[0].lines]
    assert rows == [(1, "front", "counts"), (2, "last", "counts"), (3, "next", "counts"), (None, "leaks", "fails")]


def test_neighbours_are_told_apart_by_the_rulesets_bar() -> None:
    """Welch's p from scipy's own test of two samples, against the bar of the ruleset: any improvement at p < 0.25."""
    first, second, third, leak = standings(contest())[0].lines
    p = stats.ttest_ind(FRONT, LAST, equal_var=False, alternative="less").pvalue
    assert first.shown is True and f"better: p = {p:.3g}, the bar is p < 0.25" in first.against
    p = stats.ttest_ind(LAST, NEXT, equal_var=False, alternative="less").pvalue
    assert p > 0.25 and second.shown is False and "not shown to be better" in second.against
    assert third.against == "" and leak.against == ""


def test_scores_of_other_text_or_scale_or_too_few_seeds_are_not_compared() -> None:
    front = records.scored("front", FRONT)
    other = front.model_copy(update={"data": front.data.model_copy(update={"sha256": records.sha("9")})}).sealed()
    assert beats(front, other).met is None and "not of the same text" in beats(front, other).said
    assert beats(front, front.model_copy(update={"scale": "smoke"})).met is None
    assert beats(records.scored("one", [1.0]), front).said == "1 of the 3 seeds that the rule asks for"
    assert beats(records.scored("same", [1.08, 1.08, 1.08]), records.scored("s", [1.09] * 3)).met is None
    assert len(standings(entries(front, other))) == 2


def test_an_entry_appears_once_with_its_most_seeds() -> None:
    lines = standings(entries(records.scored("front", FRONT), records.scored("front", FRONT[:1])))[0].lines
    assert len(lines) == 1 and lines[0].entry.record.score and len(lines[0].entry.record.score.per_seed) == 3


def forgeries() -> dict[str, Record]:
    """What somebody may do to a record with a text editor."""
    leak, front = records.scored("leaks", [0.93, 0.931, 0.932], status=Status.FAIL), records.scored("front", FRONT)
    assert front.score
    better = front.score.model_copy(update={"val_bpb": 0.9})
    passed = leak.findings[0].model_copy(update={"status": Status.PASS})
    return {
        "a better score": front.model_copy(update={"score": better}),
        "another verdict": leak.model_copy(update={"verdict": Status.PASS, "exit_code": 0}),
        "another verdict, sealed again": leak.model_copy(update={"verdict": Status.PASS, "exit_code": 0}).sealed(),
        "another exit code, sealed again": leak.model_copy(update={"exit_code": 0}).sealed(),
        "another finding": leak.model_copy(update={"findings": [passed], "verdict": Status.PASS, "exit_code": 0}),
        "no digest": front.model_copy(update={"digest": ""}),
        "another's digest": leak.model_copy(update={"digest": front.digest}),
    }


@pytest.mark.parametrize("how", forgeries())
def test_a_forged_record_has_no_rank_no_badge_and_is_not_called_better(how: str) -> None:
    forged = forgeries()[how]
    honest = records.scored("honest", NEXT)
    (table,) = standings(entries(forged, honest))
    assert [(line.rank, line.entry.record.submission.name) for line in table.lines][0] == (1, "honest")
    last = table.lines[-1]
    assert last.rank is None and last.group != "counts" and last.against == " ".join(view.doubts(forged)) != ""
    assert html.escape(last.against, quote=False) in render(entries(forged, honest))
    shown = badge.render(forged)
    assert "record was altered" in shown and "BPB" not in shown
    assert "not what was sealed" in compare.compare(forged, honest).sentence
    made = compare.compare(honest, forged)
    assert "not what was sealed" in made.sentence and any(doubt.startswith("second: ") for doubt in made.doubts)


def test_a_forged_record_takes_no_honest_ones_place() -> None:
    honest = records.scored("front", FRONT[:1])
    assert honest.score
    more = records.scored("front", FRONT)
    assert more.score
    forged = more.model_copy(update={"score": more.score.model_copy(update={"val_bpb": 0.5})})
    ((line,),) = [table.lines for table in standings(entries(forged, honest))]
    assert line.rank == 1 and line.entry.record is honest


def test_an_honest_record_keeps_rank_and_badge() -> None:
    for made in (records.scored("front", FRONT), records.scored("strict", FRONT, status=Status.UNRULED)):
        assert view.doubts(made) == [] and "BPB" in badge.render(made)
    strict = records.scored("strict", FRONT, status=Status.UNRULED).model_copy(update={"exit_code": 1}).sealed()
    assert view.doubts(strict) == [] and standings(entries(strict))[0].lines[0].rank == 1
    for path in sorted(Path("reports/records").glob("*.json")):
        assert view.doubts(Record.load(path)) == [], path


def test_a_record_without_a_score_is_listed_and_never_first() -> None:
    tables = standings(entries(records.unscored(), records.scored("front", FRONT)))
    assert [line.rank for table in tables for line in table.lines] == [1, None]
    page = render(entries(records.unscored()))
    assert "nothing measured" in page and "claims 1.0846" in page


def test_the_page_is_whole_and_the_same_bytes_again() -> None:
    page = render(contest())
    outline = Outline(page)
    assert page == render(contest()) and page == render(list(reversed(contest())))
    assert not outline.open[:0] and "script" not in {tag for tag, _ in outline.structure}
    assert "default-src 'none'" in page and outline.values("src") == []
    assert all(href.startswith("#") for href in outline.values("href"))
    labels = [attributes for tag, attributes in outline.structure if tag == "input"]
    assert len(labels) == 4 + 3 and all("id" in names and "name" in names for names in labels)
    for tag, attributes in outline.structure:
        assert tag != "th" or "scope" in attributes


def test_a_link_leads_to_the_rows_own_report() -> None:
    page = render([Entry(records.scored("front", FRONT), "./front%20one.html")])
    assert '<a href="./front%20one.html">front</a>' in page


def test_an_empty_board_and_one_that_no_page_can_hold() -> None:
    assert "There is no record yet" in render([])
    many = [records.scored(f"{n} " + "é" * 90, FRONT) for n in range(399)]
    with pytest.raises(HarnessError, match="board would exceed 300,000 bytes; give it fewer than 399 records"):
        render(entries(*many))


BENIGN = Outline(render(entries(spoiled(" word"), records.scored("front word", FRONT))))


@settings(max_examples=20, deadline=None)
@given(st.one_of(st.sampled_from(CELLS), st.text(min_size=1, max_size=40)))
@example(CELLS[0])
@example(CELLS[1])
@example(CELLS[3])
@example(CELLS[12])
@example(CELLS[15])
@example(CELLS[20])
def test_no_text_of_a_submission_changes_page_or_table(tail: str) -> None:
    tail = tail.encode("utf-8", "replace").decode()
    mine = records.scored("front", FRONT)
    named = mine.submission.model_copy(update={"name": tail, "author": tail})
    board = entries(spoiled(tail), mine.model_copy(update={"submission": named}).sealed())
    page = render(board)
    assert Outline(page).structure == BENIGN.structure
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", page)
    rows = list(csv.reader(io.StringIO(to_csv(board))))
    assert len(rows) == 3 and len({len(row) for row in rows}) == 1
    for row in rows[1:]:
        texts = [cell for cell in row if not re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell)]
        assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) or re.match(r"-[^-]", cell) for cell in texts)


def test_each_answer_has_a_column_on_the_page_and_in_the_csv() -> None:
    def found(check: str, status: Status) -> Finding:
        return Finding(id=check, rule="r", title="t", status=status, headline="h")

    shown = [found("causality", Status.PASS), found("size-limit", Status.FAIL), found("claims", Status.NOT_RUN)]
    board = entries(records.record(shown))
    (row,) = csv.DictReader(io.StringIO(to_csv(board)))
    assert [row[name] for name in ("score", "limits", "claim", "counts")] == ["VALID", "OVER", "INCOMPLETE", "False"]
    page = render(board)
    for word in ("VALID", "OVER", "INCOMPLETE"):
        assert f"</svg>{word}</span>" in page
    gap = entries(records.record([shown[0], found("significance", Status.INCONCLUSIVE)]))
    assert standings(gap)[0].lines[0].group == "counts", "a gap in the papers does not take a valid score's rank"

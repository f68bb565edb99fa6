from __future__ import annotations

import io
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from harness.record import Record
from harness.report.compare import compare, render, show

from . import records
from .test_html import HOSTILE, MAX_BYTES, Outline, spoiled


def printed(left: Record, right: Record, width: int = 100) -> str:
    stream = io.StringIO()
    show(left, right, Console(file=stream, width=width))
    return stream.getvalue()


def test_checks_that_differ_come_first_and_are_named() -> None:
    made = compare(records.failing(), records.passing())
    assert [pair.id for pair in made.pairs[:2]] == ["causality", "normalization"]
    assert [pair.differs for pair in made.pairs].count(True) == 2
    assert ("causality: leaking probes", "31", "0") in [(row.name, row.left, row.right) for row in made.numbers]


def test_the_sentence_says_who_is_lower_and_whether_that_is_shown() -> None:
    front, behind = records.scored("a", [1.08, 1.0801, 1.0802]), records.scored("b", [1.09, 1.0901, 1.0902])
    for left, right, which in ((front, behind, "first"), (behind, front, "second")):
        sentence = compare(left, right).sentence
        assert sentence.startswith(f"The {which} scores 0.0100 BPB lower (better: p = ")
        assert sentence.endswith("the bar is p < 0.25).")
    cheat = records.scored("c", [0.93, 0.94, 0.95], status=records.Status.FAIL)
    assert compare(cheat, front).sentence.endswith(", and it does not count: INVALID.")
    other = front.model_copy(update={"scale": "smoke"}).sealed()
    assert "neither is better" in compare(front, other).sentence
    assert "no score" in compare(front, records.unscored()).sentence


def test_what_makes_a_comparison_doubtful_is_said() -> None:
    changed = records.passing().model_copy(update={"seeds": [5]})
    ruled = records.passing().ruleset.model_copy(update={"sha256": records.sha("0")})
    made = compare(changed, records.record(records.passing().findings, ruleset=ruled))
    assert any(doubt.startswith("first: The digest") for doubt in made.doubts)
    assert "The two were judged by different rulesets." in made.doubts
    assert all(doubt in render(changed, records.passing()) for doubt in compare(changed, records.passing()).doubts)


def test_two_equal_records_differ_in_nothing() -> None:
    made = compare(records.failing(), records.failing())
    assert made.sentence == "Both have the same score." and not made.numbers and not made.facts
    assert not any(pair.differs for pair in made.pairs)
    assert "9 of 9 checks say the same" in printed(records.failing(), records.failing())


def test_the_page_is_whole_and_the_same_bytes_again() -> None:
    page = render(records.failing(), records.passing())
    outline = Outline(page)
    assert page == render(records.failing(), records.passing())
    assert "default-src 'none'" in page and outline.values("src") == []
    ids = outline.values("id")
    assert len(ids) == len(set(ids))
    assert all(href[0] == "#" and href[1:] in ids for href in outline.values("href"))
    for tag, attributes in outline.structure:
        assert tag != "th" or "scope" in attributes


BENIGN = Outline(render(spoiled(" word"), records.passing()))


@settings(max_examples=20, deadline=None)
@given(st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=40)))
@example(HOSTILE[0])
@example(HOSTILE[1])
@example(HOSTILE[8])
@example(HOSTILE[9])
@example(HOSTILE[12])
def test_no_text_of_a_submission_changes_the_page_or_commands_the_terminal(tail: str) -> None:
    page = render(spoiled(tail), records.passing())
    assert Outline(page).structure == BENIGN.structure
    assert len(page.encode()) < MAX_BYTES
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", page)
    text = printed(spoiled(tail), records.passing())
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", text)
    assert not re.search(r"^\s*(::|##\[)", text, re.MULTILINE)

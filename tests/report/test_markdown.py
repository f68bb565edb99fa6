from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from harness.record import Finding, Record, Status
from harness.report.markdown import MAX_BYTES, code, escape, render

from . import records
from .test_html import HOSTILE, spoiled

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])

#: What GitHub's Markdown makes something of, beyond what test_html has.
MARKS = [
    *HOSTILE,
    "@octocat thanks, fixes #12 and GH-7, see octo/repo#9 and octo/repo@0a1b2c3",
    "[a link](https://example.org) ![i](x) <https://example.org> www.example.org",
    "https://example.org mailto:a@b.example",
    "| one | two |\n|---|---|\n``` fence\n~~~",
    "`tick` ``ticks`` \\` \\\\| \\| |",
    "# head\n> quote\n- item\n1. one\n===\n---",
    "**bold** _it_ ~~gone~~ [^1] $x$ &amp; &#64;octocat",
    "`",
    "\\",
    "|",
]


def tokens(text: str) -> list[Token]:
    flat: list[Token] = []
    for token in READER.parse(text):
        flat.append(token)
        flat += token.children or []
    return flat


def shape(text: str) -> list[str]:
    """Every element of the rendered text; how a run of letters is cut into pieces does not matter."""
    return [token.type for token in tokens(text) if token.type not in ("text", "text_special")]


def prose_of(text: str) -> str:
    return "".join(token.content for token in tokens(text) if token.type in ("text", "text_special"))


BENIGN = shape(render(spoiled(" word")))


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.sampled_from(MARKS), st.text(min_size=1, max_size=40)))
@example(MARKS[15])
@example(MARKS[16])
@example(MARKS[17])
@example(MARKS[18])
@example(MARKS[19])
@example(MARKS[20])
@example(MARKS[21])
def test_no_text_of_a_submission_is_more_than_text(tail: str) -> None:
    text = render(spoiled(tail))
    assert shape(text) == BENIGN
    shown = prose_of(text)
    assert not re.search(r"@\w|#\d|://|www\.|GH-\d|mailto:", shown, re.IGNORECASE)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200c-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", text)
    assert len(text.encode()) <= MAX_BYTES


def test_the_property_above_can_fail() -> None:
    assert shape("a [b](http://c.example)") != shape("a b") and "html_inline" in shape("a <b>")


@settings(deadline=None)
@given(st.text(max_size=60))
def test_a_sentence_reads_as_it_was(text: str) -> None:
    flat = " ".join(text.split())
    if flat.isprintable() and flat:
        assert prose_of(f"x {escape(flat)} x").replace("\u200b", "") == f"x {flat} x"


@settings(deadline=None)
@given(st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=40))
def test_a_name_in_a_table_stays_in_its_cell(text: str) -> None:
    table = f"| a | b |\n|---|---|\n| {code(text, cell=True)} | {escape(text)} |"
    found = shape(table)
    assert found.count("td_open") == 2 and found.count("code_inline") == 1 and "link_open" not in found
    spans = [token.content for token in tokens(table) if token.type == "code_inline"]
    assert spans[0].strip() == text.replace("|", "¦").strip()


def test_a_failure_is_told_with_its_witness_and_its_replay() -> None:
    text = render(records.failing())
    assert text.startswith("## ❌ INVALID: causal\\_slot\n")
    assert "**1.6840 BPB** (honest estimate 1.9013, claimed 1.0846" in text
    assert "between 1.8921 and 1.9105, 95 %" in text
    assert "`harness replay record.json causality`" in text and "` return` became `↵class`" in text
    order = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| `")]
    assert "| score | ❌ INVALID | causality shows that this score cannot be believed: a row changes" in text
    assert "| limits | ✅ WITHIN |" in text and "| claim | ➖ NOT CLAIMED |" in text and "Exit code 1:" in text
    assert order[:2] == ["`causality`", "`normalization`"] and len(order) == 9


@pytest.mark.parametrize("make", [records.passing, records.unruled, records.inconclusive, records.unscored])
def test_every_verdict_has_a_summary(make: object) -> None:
    record = make()  # type: ignore[operator]
    assert isinstance(record, Record)
    text = render(record)
    assert record.answers.score.answer in text.splitlines()[0]
    assert ("✅" in text.splitlines()[0]) == (record.verdict == Status.PASS)


def test_a_huge_record_still_fits_and_says_what_is_left_out() -> None:
    many = [
        Finding(
            id=f"check-{n}",
            rule="C1",
            title="t",
            status=Status.FAIL,
            headline="é" * 3000,
            not_covered=["&" * 3000] * 20,
        )
        for n in range(2000)
    ]
    text = render(records.record(many))
    assert len(text.encode()) <= MAX_BYTES and "1,600 more in record.json" in text

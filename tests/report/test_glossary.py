"""Words of a report: a tooltip where each first stands, a list of them, and one file that both come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from harness.report.glossary import document, glossary, glossed, used
from harness.report.html import render
from tests.report import records

DOC = Path(__file__).parents[2] / "docs" / "glossary.md"


def test_a_word_is_explained_where_it_first_stands() -> None:
    html = glossed("no row changed in 3 rows: BPB and nats")
    assert html.count("<abbr") == 3 and html.count(glossary()["row"]) == 1
    assert html.index(">row</abbr>") < html.index(">BPB</abbr>") < html.index(">nats</abbr>")


@pytest.mark.parametrize("text", ["a pass over it", "brown", "rows-first", "row_1", "unruled"])
def test_parts_of_words_and_small_letters_of_a_status_are_left_alone(text: str) -> None:
    assert glossed(text) == text


@given(st.text(alphabet=st.sampled_from("<>&\"' rowBPB-PASS"), max_size=40))
def test_nothing_of_a_text_is_lost_or_becomes_markup(text: str) -> None:
    html = str(glossed(text))
    for name, meaning in glossary().items():
        html = html.replace(str(escape(f'<abbr title="{meaning}">')), name)
    plain = html
    while "<abbr" in plain:
        begin = plain.index("<abbr")
        plain = plain[:begin] + plain[plain.index('">', begin) + 2 :]
    assert plain.replace("</abbr>", "") == str(escape(text))


def test_a_report_lists_the_words_that_it_uses() -> None:
    page = render(records.failing(), records.RULES)
    assert '<abbr title="' in page and "<summary>Words</summary>" in page
    listed = page[page.index("<summary>Words</summary>") :]
    assert glossary()["row"].replace("'", "&#39;") in listed
    assert list(used(["a stride", "BPB, and a flip"])) == ["BPB", "flip", "stride"]


def test_the_document_is_the_list() -> None:
    assert DOC.read_text() == document(), "run: harness explain --out docs/checks"
    assert all(text.endswith(".") and "|" not in text for text in glossary().values())

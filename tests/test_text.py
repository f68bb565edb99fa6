from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.facts import Budget, fact
from harness.text import bpb, brief, clean, finite, label, number, plain, prose

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


@given(ANY_TEXT)
def test_cleaned_text_is_one_visible_line_that_encodes(raw: str) -> None:
    for shown in (clean(raw), prose(raw), plain(raw)):
        shown.encode()
        assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(ANY_TEXT)
def test_no_line_of_plain_text_can_be_a_ci_command(raw: str) -> None:
    assert "::" not in plain(raw)
    assert "##[" not in plain(raw)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain words, ünïcödé and 日本語", "plain words, ünïcödé and 日本語"),
        (" the\n", " the↵"),
        ("a\x1b[31mred", "a[U+001B][31mred"),
        ("user\u202etxt.exe", "user[U+202E]txt.exe"),
        ("zero\u200bwidth", "zero[U+200B]width"),
        ("\ud800", "[U+D800]"),
        ("\ufffe", "[U+FFFE]"),
        ("e" + "\u0301" * 50, "e\u0301\u0301\u0301"),
    ],
)
def test_hidden_characters_are_shown_and_others_left_alone(raw: str, shown: str) -> None:
    assert clean(raw) == shown


def test_long_text_is_cut_and_the_rest_is_counted() -> None:
    assert clean("a" * 400) == "a" * 400
    assert clean("a" * 100_000, 10) == "a" * 10 + "… (+99,990 characters)"


def test_brief_text_never_exceeds_its_limit() -> None:
    assert brief("short", 5) == "short"
    assert brief("longer", 5) == "long…"
    assert brief("\x00" * 9, 5) == "[U+0…"


def test_ci_commands_lose_their_prefix() -> None:
    assert plain("fine: one colon, #1306") == "fine: one colon, #1306"
    assert plain("::error file=a::b") == ": :error file=a: :b"
    assert plain("x ##[error]y") == "x # #[error]y"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "yes"),
        (None, "none"),
        (1337, "1,337"),
        (16_000_000, "16,000,000"),
        (1.23456789, "1.23457"),
        (1.0000021, "1.0000021"),
        (1.0, "1"),
        (0.0, "0"),
        (float("-inf"), "-inf"),
        (0.1 + 0.2, "0.3"),
        (1e-9, "1e-9"),
        (1.23456789e-9, "1.23457e-9"),
        (2e20, "2e20"),
        (151077000.5, "151,077,000.50"),
        (float("nan"), "nan"),
        (10**400, "an integer of 1,329 bits"),
        ("te\nxt", "te↵xt"),
    ],
)
def test_numbers_are_readable(value: object, shown: str) -> None:
    assert number(value) == shown


def test_bpb_has_the_contests_four_decimals() -> None:
    assert bpb(1.08459) == "1.0846"
    assert bpb(3.5e-7) == "3.5e-07"


def test_labels_spell_units() -> None:
    assert label("val_bpb") == "val BPB"
    assert label("artifact_sha256") == "artifact SHA-256"


@pytest.mark.parametrize("value", [1, 1.5, "1.5", " 2 "])
def test_numbers_in_claims_are_understood(value: object) -> None:
    assert finite(value) is not None


@pytest.mark.parametrize("value", [None, True, "nan", "inf", float("inf"), "1.08 BPB", [1.0], 10**400, "9" * 5000])
def test_claims_that_are_no_numbers_are_refused(value: object) -> None:
    assert finite(value) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(ANY_TEXT, inner, max_size=6),
    max_leaves=30,
)


@given(JSON)
def test_any_value_can_be_laid_out(value: object) -> None:
    laid = fact(value, Budget(rows=4, text=20, depth=2))
    assert laid.kind in ("text", "pairs", "table")


def test_values_are_laid_out_by_their_shape() -> None:
    table = fact([{"seed": 1, "bpb": 1.5}, {"seed": 2, "bpb": 1.25}])
    assert (table.kind, table.head, [cell.text for cell in table.rows[1]]) == ("table", ("seed", "BPB"), ["2", "1.25"])
    assert fact([[1, 2], [3, 4]]).kind == "table"
    assert fact([1, 2, 3]).text == "1, 2, 3"
    assert fact([{"a": 1}, {"b": 2}]).kind == "pairs"
    assert fact({}).text == fact([]).text == "none"
    assert fact([[], []]).kind == "text"


def test_what_a_budget_leaves_out_is_counted() -> None:
    assert fact({str(key): key for key in range(50)}, Budget(rows=8)).left_out == 42
    assert fact([[key, key] for key in range(50)], Budget(rows=8)).left_out == 42
    assert fact(list(range(50)), Budget(rows=3)).text == "0, 1, 2, … and 47 more"


def test_nesting_beyond_the_budget_becomes_one_line() -> None:
    deep: object = {"leaf": 1}
    for _ in range(40):
        deep = {"inner": deep}
    laid = fact(deep)
    for _ in range(3):
        laid = laid.pairs[0][1]
    assert laid.kind == "text"
    assert json.dumps(laid.text)


def test_integers_that_are_names_are_not_grouped() -> None:
    laid = dict(fact({"seed": 1337, "new_token": 52_000, "tokens": 1337, "ok_token": True}).pairs)
    assert [value.text for value in laid.values()] == ["1337", "52000", "1,337", "yes"]
    assert fact([{"seed": 1337}]).rows[0][0].text == "1337"

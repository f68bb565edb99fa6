"""Whatever a box sends as facts, what comes out has the types that readers rely on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scripts.trace.observed import tidy

GOOD = {
    "ended": "ok",
    "error": "",
    "stage": 1,
    "seconds": 2.5,
    "operations": 10,
    "standins": {"autocast": 3},
    "missing": [{"name": "a", "why": "b", "place": "c"}],
    "files": [{"name": "x.bin", "opened": 1, "bytes": 7}],
    "edited": {"tokens": 4, "arrays": 1},
}


def test_good_facts_stay() -> None:
    assert tidy(GOOD) == GOOD


@pytest.mark.parametrize(
    "facts",
    [
        {"ended": 3},
        {"ended": None, "missing": "all", "files": [1, {"name": 2}], "standins": [1], "edited": {"tokens": "many"}},
        [],
        "ok",
        None,
        {"seconds": float("inf"), "stage": -1, "operations": True},
    ],
)
def test_others_are_dropped(facts: Any) -> None:
    made = tidy(facts)
    assert made["ended"] == "error"
    assert not any(made.get(name) for name in ("missing", "files", "standins", "edited", "seconds", "stage"))


def test_no_terminal_escapes() -> None:
    assert "\x1b" not in tidy({"ended": "ok", "error": "\x1b[2Jhello\nline"})["error"]


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "name", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json)
def test_anything_is_survived(facts: Any) -> None:
    made = tidy(facts)
    assert isinstance(made["ended"], str)
    assert all(isinstance(count, int) for count in made.get("standins", {}).values())
    assert all(isinstance(row["place"], str) for row in made.get("missing", []))
    assert tidy(made) == made

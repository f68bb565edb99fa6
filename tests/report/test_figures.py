from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.report.figures import draw
from harness.report.svg import Axis, ticks

from . import records

FIGURES = {
    **records.causality().figures,
    "bars": {"type": "bars", "title": "Size", "bars": [{"label": "a", "value": 2.0, "limit": 1.0, "status": None}]},
}


def tree(figure: Any, ident: str = "f") -> ET.Element:
    """The figure parsed as XML; fails if it is not well formed."""
    return ET.fromstring(str(draw(figure, ident)))


def marks(root: ET.Element, name: str) -> list[ET.Element]:
    return [element for element in root.iter() if name in (element.get("class") or "").split()]


def cells(path: ET.Element) -> list[tuple[int, int, int]]:
    """(row, first column, last column) of each rectangle of a matrix path."""
    found = re.findall(r"M(\d+) ([\d.]+)H(\d+)V[\d.]+H\d+z", path.get("d") or "")
    return [(int(float(row)), int(start), int(end) - 1) for start, row, end in found]


def matrix(*probes: dict[str, Any]) -> ET.Element:
    return tree({"type": "flips", "title": "m", "tokens": 1000, "probes": list(probes)})


def probe(position: int, status: str, *changed: int, kind: str = "suffix") -> dict[str, Any]:
    return {"position": position, "kind": kind, "status": status, "changed": [[where, 0.1] for where in changed]}


@pytest.mark.parametrize("name", ["leak_matrix", "price", "nll", "order", "bars"])
def test_known_types_become_named_drawings(name: str) -> None:
    root = tree(FIGURES[name], "abc")
    assert root.tag == "svg"
    assert root.get("role") == "img"
    title, description = list(root)[:2]
    assert (title.tag, description.tag) == ("title", "desc")
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}" == "abc-title abc-desc"
    assert title.text == FIGURES[name]["title"]
    assert description.text


def test_same_data_same_drawing() -> None:
    for figure in FIGURES.values():
        assert draw(figure, "x") == draw(figure, "x")


@pytest.mark.parametrize(
    "figure",
    [
        {"type": "pie", "title": "unknown", "parts": [1, 2]},
        {"type": "bars"},
        {"type": "bars", "bars": []},
        {"type": "bars", "bars": [{"label": "a", "value": "much"}]},
        {"type": "bars", "bars": 7},
        {"type": "line", "series": [{"label": "a", "x": [1, 2], "y": [1]}]},
        {"type": "line", "series": [{"label": "a", "x": [None], "y": [1]}]},
        {"type": "flips", "probes": []},
        {"type": "flips", "probes": [{"position": 3}]},
        {"type": "flips", "probes": [probe(3, "leak") | {"changed": [4]}]},
        {"type": "timeline", "events": [{"kind": "nap", "start": 0, "end": 1, "order": 0}]},
        {"type": "timeline", "events": [{"kind": "read", "start": 0, "end": float("inf"), "order": 0}]},
        {"type": "timeline", "events": [{"kind": "read", "start": 1e30, "end": 1e30, "order": 0}]},
        {"type": ["bars"]},
        {},
        None,
        [1, 2],
        "text",
    ],
)
def test_what_cannot_be_drawn_is_a_table_of_its_data(figure: Any) -> None:
    root = tree(figure)
    assert root.tag == "table"
    assert root.find("caption") is not None


LEAF = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=9)
)
ANY = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
KEYS = ["title", "bars", "series", "probes", "events", "label", "value", "limit", "x", "y", "position", "kind"]
KEYS += ["status", "changed", "start", "end", "order", "unit", "tokens"]
NESTED = st.dictionaries(st.sampled_from(KEYS), ANY | st.lists(st.dictionaries(st.sampled_from(KEYS), ANY), max_size=3))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["bars", "line", "flips", "timeline", "?"]), NESTED)
def test_no_data_crash_a_figure_or_escape_from_it(kind: str, data: dict[str, Any]) -> None:
    assert tree({"type": kind, **data}).tag in ("svg", "table")


def test_labels_are_escaped() -> None:
    nasty = '<script>alert(1)</script>\u202e&"'
    root = tree({"type": "bars", "title": nasty, "unit": nasty, "bars": [{"label": nasty, "value": 1}]})
    assert not list(root.iter("script"))
    assert "\u202e" not in ET.tostring(root, encoding="unicode")
    assert any("<script>" in (element.text or "") for element in root.iter("text"))


def test_bars_grow_with_their_value_and_alarm_above_the_limit() -> None:
    bars = [{"label": "a", "value": 50, "limit": 100.0}, {"label": "b", "value": 200, "limit": 100.0, "status": None}]
    root = tree({"type": "bars", "title": "t", "bars": bars})
    assert [bar.get("width") for bar in marks(root, "f-bar")] == ["25%"]
    assert [bar.get("width") for bar in marks(root, "f-alarm")] == ["100%"]
    assert [mark.get("x1") for mark in marks(root, "f-limit")] == ["50%", "50%"]


def test_a_line_spans_its_data() -> None:
    root = tree({"type": "line", "title": "t", "series": [{"label": "a", "x": [0, 5, 10], "y": [1, 3, 1]}]})
    points = [tuple(map(float, point.split(","))) for point in (root.find(".//polyline").get("points") or "").split()]  # type: ignore[union-attr]
    assert [x for x, _ in points] == [0, 500, 1000]
    assert points[1][1] < points[0][1] == points[2][1]  # up is less


def test_a_long_line_is_thinned_but_keeps_its_ends() -> None:
    xs = list(range(100_000))
    root = tree({"type": "line", "title": "t", "series": [{"label": "a", "x": xs, "y": xs}]})
    points = (root.find(".//polyline").get("points") or "").split()  # type: ignore[union-attr]
    assert len(points) <= 402
    assert (points[0].split(",")[0], points[-1].split(",")[0]) == ("0", "1000")


def test_leaks_lie_left_of_the_flipped_token_and_legal_effects_right_of_it() -> None:
    root = matrix(probe(100, "leak", 40, 99, 100, 101, 500))
    alarm, legal = marks(root, "f-alarm")[-1], marks(root, "f-muted")[-1]
    leaking = [last for _, _, last in cells(alarm)]
    allowed = [first for _, first, _ in cells(legal)]
    assert len(leaking) >= 2 and len(allowed) == 2
    assert max(leaking) < min(allowed)
    (zero,) = marks(root, "f-zero")
    share = (float((zero.get("x1") or "").rstrip("%")) - 12) / 86
    assert max(leaking) / 160 < share <= min(allowed) / 160 + 1 / 160


def test_a_clean_probe_has_no_alarm() -> None:
    root = matrix(probe(100, "clean", 101, 150))
    assert cells(marks(root, "f-alarm")[-1]) == []
    assert len(cells(marks(root, "f-muted")[-1])) >= 1
    assert "0 of them leak" in (root.find("desc").text or "")  # type: ignore[union-attr]


def test_rows_that_may_move_in_the_submissions_own_order_are_no_alarm() -> None:
    # The check judges by processing order and says "clean"; the figure must not contradict it.
    root = matrix(probe(100, "clean", 50))
    assert cells(marks(root, "f-alarm")[-1]) == []


def test_each_probe_has_its_row_by_position() -> None:
    root = matrix(probe(300, "leak", 299), probe(100, "clean", 101), probe(200, "leak", 150))
    assert {row for row, _, _ in cells(marks(root, "f-alarm")[-1])} == {1, 2}
    assert {row for row, _, _ in cells(marks(root, "f-muted")[-1])} == {0}


def test_a_probe_without_teeth_is_marked_and_counted() -> None:
    root = matrix(probe(100, "no-control"), probe(200, "clean", 201))
    assert [element.text for element in root.iter("text")].count("?") == 1
    assert "1 tests changed no prediction" in (root.find("desc").text or "")  # type: ignore[union-attr]


def test_the_earliest_leak_is_told() -> None:
    root = matrix(probe(100, "leak", 99), probe(500, "leak", 120))
    assert "-380 tokens" in (root.find("desc").text or "")  # type: ignore[union-attr]


def test_a_large_matrix_stays_small_and_keeps_every_leak_visible() -> None:
    probes = [probe(40 * index, "clean", *range(40 * index + 1, 40 * index + 60)) for index in range(800)]
    probes[417] = probe(40 * 417, "leak", 40 * 417 - 7)
    markup = draw({"type": "flips", "title": "t", "tokens": 32_768, "probes": probes}, "f")
    assert len(markup) < 60_000
    assert len(cells(marks(ET.fromstring(str(markup)), "f-alarm")[-1])) == 1


def test_a_timeline_keeps_order_and_positions() -> None:
    events = [
        {"kind": "commit", "start": 50, "end": 100, "order": 1},
        {"kind": "update", "start": 0, "end": 50, "order": 2},
        {"kind": "read", "start": 0, "end": 100, "order": 0},
    ]
    root = tree({"type": "timeline", "title": "t", "events": events})
    rects = {element.get("class"): element for element in root.iter("rect")}
    x = {name: float(rects[name].get("x") or "nan") for name in ("f-read", "f-commit", "f-update")}
    y = {name: float(rects[name].get("y") or "nan") for name in ("f-read", "f-commit", "f-update")}
    assert x["f-read"] < x["f-commit"] < x["f-update"]
    assert y["f-read"] == y["f-commit"] == 0 and y["f-update"] == 500
    assert float(rects["f-commit"].get("height") or "nan") == 500


def test_a_timeline_says_how_many_events_it_draws() -> None:
    events = [{"kind": "commit", "start": index, "end": index + 1, "order": index} for index in range(5000)]
    root = tree({"type": "timeline", "title": "t", "events": events})
    assert len(list(root.iter("rect"))) == 400
    assert "the first 400 of 5,000" in (root.find("desc").text or "")  # type: ignore[union-attr]


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_few_and_inside(low: float, width: float) -> None:
    high = low + width
    found = ticks(low, high)
    assert len(found) <= 8
    slack = 1e-6 * max(width, abs(low), abs(high))
    assert all(low - slack <= value <= high + slack for value in found)


def test_axes_map_ends_to_ends() -> None:
    axis = Axis.over([3.0, 7.0])
    assert (axis.share(3.0), axis.share(7.0)) == (0, 1)
    assert 0 < Axis.over([5.0]).share(5.0) < 1

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.report import overview
from harness.report.figures import draw

from . import records

BARS = [
    {"label": "measured", "value": 2.1494, "status": "FAIL"},
    {"label": "honest", "value": 2.1884, "low": 2.1549, "high": 2.2218, "limit": 2.2},
]


def percents(markup: str, pattern: str) -> list[float]:
    return [float(value) for value in re.findall(pattern, markup)]


def test_points_that_are_close_are_told_apart_and_lie_inside_their_interval() -> None:
    drawn = str(draw({"type": "dots", "title": "Price", "unit": "BPB", "bars": BARS}, "f"))
    first, second = percents(drawn, r'<circle cx="([\d.]+)%"')
    ((start, width),) = [
        tuple(map(float, one)) for one in re.findall(r'<rect x="([\d.]+)%"[^>]*width="([\d.]+)%"', drawn)
    ]
    (limit,) = percents(drawn, r'<line x1="([\d.]+)%"[^>]*class="f-limit"')
    assert 0 < first < start < second < limit < start + width < 100
    # Distances are those of the values: an axis is linear.
    assert (second - first) / (limit - first) == pytest.approx((2.1884 - 2.1494) / (2.2 - 2.1494), rel=1e-3)
    assert "2.1884 BPB (2.1549 to 2.2218)" in drawn and 'class="f-alarm"' in drawn


def test_parts_fill_the_strip_and_tell_their_share() -> None:
    parts = [{"label": "mlp", "value": 600}, {"label": "embedding", "value": 400}]
    drawn = str(draw({"type": "parts", "title": "Bytes", "unit": "bytes", "limit": 16_000, "parts": parts}, "f"))
    assert percents(drawn, r'y="0" width="([\d.]+)%"') == [60, 40]
    assert "600 bytes, 60.0 %; 3.8 % of the limit" in drawn


@pytest.mark.parametrize(
    "figure",
    [
        {"type": "dots", "bars": []},
        {"type": "dots", "bars": [{"label": "x", "value": "much"}]},
        {"type": "parts", "parts": [{"label": "x", "value": -1}]},
        {"type": "parts", "parts": [{"label": "x", "value": 0}]},
        {"type": "line", "x_scale": "log", "series": [{"label": "x", "x": [0, 1], "y": [1, 2]}]},
    ],
)
def test_what_cannot_be_drawn_is_a_table(figure: dict[str, Any]) -> None:
    assert str(draw(figure, "f")).startswith("<table")


@settings(deadline=None)
@given(st.lists(st.floats(-1e9, 1e9, width=32), min_size=1, max_size=5))
def test_any_numbers_have_places(values: list[float]) -> None:
    bars = [{"label": "x", "value": value} for value in values]
    places = percents(str(draw({"type": "dots", "bars": bars}, "f")), r'<circle cx="([\d.]+)%"')
    assert len(places) == len(values) and all(0 < place < 100 for place in places)
    order = sorted(range(len(values)), key=values.__getitem__)
    assert [places[index] for index in order] == sorted(places)


def test_decades_are_evenly_spaced_on_a_logarithmic_axis() -> None:
    curve = {"label": "x", "x": [0.001, 0.01, 0.1, 1.0], "y": [0.0, 1.0, 2.0, 3.0]}
    drawn = str(draw({"type": "line", "x_scale": "log", "series": [curve]}, "f"))
    (points,) = re.findall(r'points="([^"]+)"', drawn)
    xs = [float(point.split(",")[0]) for point in points.split()]
    assert xs == pytest.approx([0, 1000 / 3, 2000 / 3, 1000], abs=0.01)


def test_needles_stand_on_zero() -> None:
    curve = {"label": "x", "x": [1, 2, 3], "y": [1.0, -1.0, 1.0]}
    drawn = str(draw({"type": "line", "needles": True, "series": [curve]}, "f"))
    needles = re.findall(r"M([\d.]+) ([\d.]+)V([\d.]+)", drawn)
    assert len(needles) == 3 and {base for _, base, _ in needles} == {"500"}
    assert float(needles[0][2]) < 500 < float(needles[1][2])


def test_a_record_has_the_figures_that_its_numbers_allow() -> None:
    names = [name for name, _ in overview.figures(records.failing())]
    assert [name.split(",")[0].split(";")[0] for name in names] == [
        "Loss along the scored stream",
        "Artifact by tensor group",
        "Artifact and code",
        "Clocks",
    ]
    assert [name for name, _ in overview.priced(records.failing())] == [
        "Bits per byte, with the leak and without",
        "The price at each sampled position",
    ]
    assert overview.priced(records.passing()) == [] and overview.figures(records.unscored())[:-1] == []
    assert overview.figures(records.scored("a", [1.1, 1.2]))[0][0] == "Seeds"


def test_clocks_alarm_on_the_contests_hardware_only() -> None:
    plain = overview.clocks(records.passing())
    assert plain and {bar["status"] for bar in plain["bars"]} == {"reference"}
    assert [bar["limit"] for bar in plain["bars"]] == [600.0, 600.0, None, None]
    findings = records.passing().findings
    findings[-1] = findings[-1].model_copy(update={"metrics": records.numbers(limit_seconds=600.0, loop=700.0)})
    slow = records.record(findings, clocks={"train": {"loop": 700.0}})
    assert (made := overview.clocks(slow)) and "status" not in made["bars"][0]
    assert "f-alarm" in str(draw(made, "f"))


def test_what_each_check_would_have_seen_begins_with_the_smallest_effect() -> None:
    (row,) = overview.power(records.failing())
    assert row[0].id == "causality" and row[1][0][0].startswith("smallest")

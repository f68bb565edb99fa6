"""Sliding windows: exact cover, in order, and equal to the contest's layout."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.kit.windows import Window, sliding

Geometry = tuple[int, int, int]


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    length = draw(st.integers(1, 48))
    return draw(st.integers(1, 300)), length, draw(st.integers(1, length))


def positions(window: Window) -> list[int]:
    return [window.start + 1 + offset for offset in range(window.first, window.size)]


@given(geometries())
def test_every_position_is_scored_exactly_once_and_in_order(geometry: Geometry) -> None:
    targets = geometry[0]
    assert [p for window in sliding(*geometry) for p in positions(window)] == list(range(1, targets + 1))


@given(geometries())
def test_inputs_stay_inside_the_stream_and_no_window_is_empty(geometry: Geometry) -> None:
    targets, length, _ = geometry
    for window in sliding(*geometry):
        # The last input is x_{targets-1}: x_targets is only ever a target.
        assert 0 <= window.start and window.start + window.size <= targets
        assert 0 < window.size <= length and window.scored == len(positions(window)) > 0


@given(geometries())
def test_a_later_window_has_the_full_context(geometry: Geometry) -> None:
    _, length, stride = geometry
    for window in list(sliding(*geometry))[1:]:
        assert window.first == length - stride


def contest_layout(tokens: int, seq_len: int, stride: int) -> list[tuple[int, int, int]]:
    """PR #1218's loop, restated: (window start, first scored offset, one past the last)."""
    context = seq_len - stride
    starts = [ws for ws in range(0, tokens, stride) if ws + context < tokens]
    found = []
    for ws in starts:
        end = min(ws + seq_len, tokens)
        found.append((ws, 0 if ws == 0 else context, end - ws))
    return found


@given(geometries())
def test_equals_the_contests_layout(geometry: Geometry) -> None:
    targets, length, stride = geometry
    ours = [(w.start, w.first, w.size) for w in sliding(*geometry)]
    if length - stride < targets:
        assert ours == contest_layout(targets, length, stride)
    else:  # shorter than one context, where the contest's loop would score nothing
        assert ours == [(0, 0, targets)] and contest_layout(targets, length, stride) == []


def test_known_geometry() -> None:
    assert list(sliding(10, 6, 2)) == [Window(0, 6, 0), Window(2, 6, 4), Window(4, 6, 4)]
    assert list(sliding(9, 6, 2)) == [Window(0, 6, 0), Window(2, 6, 4), Window(4, 5, 4)]


def test_nothing_to_score() -> None:
    assert list(sliding(0, 6, 2)) == []


@pytest.mark.parametrize(("length", "stride"), [(4, 5), (4, 0), (4, -1), (0, 0)])
def test_impossible_geometry_is_refused(length: int, stride: int) -> None:
    with pytest.raises(ValueError, match=f"stride {stride} must lie between 1 and the window length {length}"):
        list(sliding(100, length, stride))

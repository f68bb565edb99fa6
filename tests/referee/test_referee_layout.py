"""A null stream's layout: the real one's length and documents, in another order, cut into lanes."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.referee.layout import Layout

BOS = 1


def stream_of(documents: list[int], before: int = 0) -> np.ndarray:
    tokens = np.full(before + sum(documents), 7, np.uint16)
    tokens[before + np.concatenate([[0], np.cumsum(documents)[:-1]]).astype(int)] = BOS
    return tokens


def lengths(fixed: np.ndarray) -> list[int]:
    return np.diff(np.append(np.flatnonzero(fixed == BOS), len(fixed))).tolist()


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.integers(0, 50), st.integers(0, 99))
def test_documents_keep_their_lengths(documents: list[int], before: int, seed: int) -> None:
    real = stream_of(documents, before)
    layout = Layout.like(real, BOS, np.random.default_rng(seed))
    assert len(layout.fixed) == len(real) and layout.fixed[0] == real[0]
    found = lengths(layout.fixed)
    assert Counter(found) == Counter(documents) and found[-1] == documents[-1]
    assert set(np.unique(layout.fixed)) <= {-1, BOS, int(real[0])}


def test_the_order_of_documents_changes_with_the_seed() -> None:
    real = stream_of(list(range(10, 40)))
    orders = {tuple(lengths(Layout.like(real, BOS, np.random.default_rng(seed)).fixed)) for seed in range(5)}
    assert len(orders) == 5


def test_a_stream_without_documents_is_one_piece() -> None:
    layout = Layout.like(np.full(50, 7, np.uint16), BOS, np.random.default_rng(0))
    assert layout.fixed[0] == 7 and (layout.fixed[1:] == -1).all()
    assert layout.lanes(2).tolist() == [0, 25]


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.integers(1, 40))
def test_lanes_are_of_about_equal_length_and_begin_with_documents_if_they_can(documents: list[int], most: int) -> None:
    layout = Layout.like(stream_of(documents), BOS, np.random.default_rng(0))
    total = len(layout.fixed)
    begins = layout.lanes(most)
    assert begins[0] == 0 and (np.diff(begins) > 0).all() and len(begins) <= most and begins[-1] < total
    assert np.diff(np.append(begins, total)).max() <= 2 * -(-total // most) + 1
    starts = np.flatnonzero(layout.fixed == BOS)
    for begin in begins[layout.fixed[begins] != BOS]:
        assert np.abs(starts - begin).min() >= total // most // 2

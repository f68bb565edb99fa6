"""Null streams: what is drawn is drawn with the probability that is written down, and nobody beats it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from harness.referee.layout import Layout
from harness.referee.null import (
    ALIGNED,
    CERTAIN,
    Bigram,
    NullStream,
    draw,
    from_model,
    permutation,
    permutations,
    saving,
)
from harness.referee.trace import Trace

V = 12
BOS = 1


def scored(stream: NullStream, log_q: np.ndarray) -> Trace:
    trace = Trace(len(stream.tokens))
    trace.nll[1:] = -log_q[1:]
    trace.order[1:] = np.arange(len(stream.tokens) - 1)
    return trace


def test_drawing_follows_the_rows() -> None:
    rng = np.random.default_rng(0)
    rows = np.tile(rng.normal(size=(1, V)).astype(np.float32), (200_000, 1))
    tokens, log_p = draw(rows, rng)
    expected = np.exp(log_softmax(rows[0].astype(np.float64)))
    np.testing.assert_allclose(np.bincount(tokens, minlength=V) / len(tokens), expected, atol=0.005)
    np.testing.assert_allclose(log_p, np.log(expected)[tokens], rtol=1e-12)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_rows_that_are_no_numbers_are_drawn_from_all_the_same(poison: float) -> None:
    rows = np.zeros((5, V), np.float32)
    rows[:, 2] = poison
    tokens, log_p = draw(rows, np.random.default_rng(1))
    assert ((tokens >= 0) & (tokens < V)).all() and np.isfinite(log_p).all()


def layout_of(documents: list[int]) -> Layout:
    """Documents of these lengths, BOS included."""
    fixed = np.full(sum(documents), -1)
    fixed[np.concatenate([[0], np.cumsum(documents)[:-1]])] = BOS
    return Layout(fixed, BOS)


LAYOUT = layout_of([100, 30, 150, 70, 2, 88])


def table_model(seed: int = 0):
    """A bigram table, what a box with it answers, and its log-probabilities given that no BOS comes next."""
    rows = np.random.default_rng(seed).normal(size=(V, V)).astype(np.float32) * 2

    def next_rows(before: np.ndarray | None) -> np.ndarray:
        return np.tile(rows[BOS], (next_rows.lanes, 1)) if before is None else rows[before]

    masked = rows.astype(np.float64)
    masked[:, BOS] = -np.inf
    return rows, next_rows, log_softmax(masked, axis=1)


def drawn(seed: int, *, lanes: int = 4) -> NullStream:
    _, next_rows, _ = table_model()
    begins = LAYOUT.lanes(lanes)
    next_rows.lanes = len(begins)
    return from_model(next_rows, LAYOUT, begins, np.random.default_rng(seed))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 7))
def test_what_is_written_down_is_what_was_drawn_with(seed: int, lanes: int) -> None:
    stream, (_, _, exact) = drawn(seed, lanes=lanes), table_model()
    np.testing.assert_array_equal(stream.tokens == BOS, LAYOUT.fixed == BOS)  # nowhere else
    np.testing.assert_array_equal(stream.fixed, LAYOUT.fixed >= 0)
    inner = ~stream.fixed
    inner[LAYOUT.lanes(lanes)] = False  # a lane may begin in mid-document, after a run-up that nobody sees
    inner[0] = False
    at = np.flatnonzero(inner)
    np.testing.assert_allclose(stream.log_p[at], exact[stream.tokens[at - 1], stream.tokens[at]])
    assert (stream.log_p[stream.fixed] == 0).all() and (stream.log_p[~stream.fixed] < 0).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_no_legal_scorer_saves_21_nats(seed: int) -> None:
    stream, (rows, _, exact) = drawn(seed), table_model()
    masked = np.concatenate([[0.0], exact[stream.tokens[:-1], stream.tokens[1:]]])
    own = saving(stream, scored(stream, masked), V)
    assert own.nats < 10 and own.tokens == len(LAYOUT.fixed) - 6
    plain = log_softmax(rows.astype(np.float64), axis=1)
    whole = saving(stream, scored(stream, np.concatenate([[0.0], plain[stream.tokens[:-1], stream.tokens[1:]]])), V)
    assert whole.nats <= own.nats  # what it gives to documents' starts is lost
    other = log_softmax(np.random.default_rng(seed + 1).normal(size=(V, V)), axis=1)
    wrong = np.concatenate([[0.0], other[stream.tokens[:-1], stream.tokens[1:]]])
    assert saving(stream, scored(stream, wrong), V).nats < CERTAIN


def test_the_expected_ratio_of_a_legal_scorer_is_at_most_one() -> None:
    """The e-value's law itself, where its mean can be seen: short texts, many of them."""
    rows, next_rows, _ = table_model(3)
    layout, begins = layout_of([3, 2]), np.array([0])
    next_rows.lanes = 1
    other = log_softmax(rows.astype(np.float64) * 0.7, axis=1)
    rng = np.random.default_rng(0)
    values = []
    for _ in range(3000):
        stream = from_model(next_rows, layout, begins, rng)
        log_q = np.concatenate([[0.0], other[stream.tokens[:-1], stream.tokens[1:]]])
        values.append(math.exp(saving(stream, scored(stream, log_q), V).nats))
    assert np.mean(values) <= 1 + 4 * np.std(values) / math.sqrt(len(values))


def test_a_peeking_scorer_is_caught_and_the_bound_is_stated() -> None:
    stream = drawn(3)
    found = saving(stream, scored(stream, stream.log_p + 0.1), V)
    assert found.nats == pytest.approx(0.1 * found.tokens) and found.tokens > 400
    assert found.false_alarm == pytest.approx(math.exp(-found.nats)) and found.visible == 0.0


def test_a_heavy_loss_is_no_alarm_and_no_error() -> None:
    stream = drawn(6)
    found = saving(stream, scored(stream, stream.log_p - 5), V)
    assert found.nats < -2000 and found.false_alarm == 1.0
    assert saving(stream, scored(stream, stream.log_p + 5), V).false_alarm == 0.0


def test_a_position_without_a_row_counts_as_uniform() -> None:
    stream = drawn(4)
    trace = scored(stream, stream.log_p)
    t = int(np.flatnonzero(~stream.fixed)[5])
    trace.order[t] = -1
    found = saving(stream, trace, V)
    assert found.unscored == 1 and found.nats == pytest.approx(-math.log(V) - stream.log_p[t])


def test_a_permutation_is_one() -> None:
    stream = permutation(V, BOS, np.random.default_rng(0))
    assert sorted(stream.tokens) == list(range(V)) and stream.tokens[0] == BOS
    assert -stream.log_p.sum() == pytest.approx(math.lgamma(V))


def test_permutations_fill_what_is_open() -> None:
    stream = permutations(LAYOUT, V, np.random.default_rng(0))
    np.testing.assert_array_equal(stream.tokens == BOS, LAYOUT.fixed == BOS)
    text = stream.tokens[~stream.fixed]
    for start in range(0, len(text) - V + 2, V - 1):
        assert sorted(text[start : start + V - 1]) == [token for token in range(V) if token != BOS]
    whole, rest = divmod(len(text), V - 1)
    last = math.lgamma(V) - math.lgamma(V - rest)
    assert -stream.log_p.sum() == pytest.approx(whole * math.lgamma(V) + last)


def test_a_scorer_that_knows_what_a_permutation_leaves_saves_nothing_and_one_that_peeks_does() -> None:
    stream = permutations(LAYOUT, V, np.random.default_rng(1))
    assert saving(stream, scored(stream, stream.log_p), V).nats == pytest.approx(0.0, abs=1e-9)
    uniform = np.full(len(stream.tokens), -math.log(V))
    assert saving(stream, scored(stream, uniform), V).nats < 0
    assert saving(stream, scored(stream, uniform / 2), V).nats > CERTAIN


def test_the_bigram_model_is_a_distribution_and_is_drawn_from() -> None:
    chance = np.arange(1, V + 1) / (V * (V + 1) / 2)
    tokens = np.random.default_rng(0).choice(V, size=4000, p=chance).astype(np.uint16)
    model = Bigram(tokens, V + 2)  # two tokens that never occur
    every = np.arange(V + 2)
    for before in every:
        assert np.exp(model.log_p(np.full(V + 2, before), every)).sum() == pytest.approx(1.0)
        others = every[every != BOS]
        assert np.exp(model.log_p(np.full(V + 1, before), others, never=BOS)).sum() == pytest.approx(1.0)
    layout = layout_of([400] * 30)
    stream = model.draw(layout, layout.lanes(8), np.random.default_rng(1))
    np.testing.assert_array_equal(stream.tokens == BOS, layout.fixed == BOS)
    inner = ~stream.fixed[1:] & ~np.isin(np.arange(1, 12_000), layout.lanes(8))
    log_p = model.log_p(stream.tokens[:-1].astype(np.int64), stream.tokens[1:].astype(np.int64), never=BOS)
    np.testing.assert_allclose(stream.log_p[1:][inner], log_p[inner])
    pairs = (stream.tokens[:-1] == 5) & inner
    share = (stream.tokens[1:][pairs] == 7).mean()
    expected = math.exp(float(model.log_p(np.array([5]), np.array([7]), never=BOS)[0]))
    assert share == pytest.approx(expected, abs=0.04)


def test_a_lane_is_drawn_from_where_windows_begin() -> None:
    asked: list[int] = []
    begins = np.array([0, 130])  # 130 is the start of a document

    def next_rows(before: np.ndarray | None) -> np.ndarray:
        asked.append(0 if before is None else int(before[1]))
        return np.zeros((2, V), np.float32)

    stream = from_model(next_rows, layout_of([130, 200]), begins, np.random.default_rng(0))
    run_up = 130 - 130 // ALIGNED * ALIGNED
    assert asked[run_up] == BOS and len(asked) == 330 - 130 // ALIGNED * ALIGNED - 1
    assert asked[run_up + 1 : run_up + 6] == stream.tokens[131:136].tolist()

"""Null streams: what is drawn is drawn with the probability that is written down, and nobody beats it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from harness.referee.null import CERTAIN, Bigram, NullStream, draw, from_model, permutation, saving, saving_of_total
from harness.referee.price import price
from harness.referee.source import Probe
from harness.referee.trace import Trace
from tests.audit.evidence_builder import probe_result

V = 12


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


def table_model(seed: int = 0):
    rows = np.random.default_rng(seed).normal(size=(V, V)).astype(np.float32) * 2

    def next_rows(drawn: np.ndarray | None) -> np.ndarray:
        return np.tile(rows[1], (8, 1)) if drawn is None else rows[drawn]

    return rows, next_rows


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_the_model_itself_saves_nothing_and_no_other_saves_21_nats(seed: int) -> None:
    rows, next_rows = table_model()
    stream = from_model(next_rows, segments=8, length=40, bos=1, rng=np.random.default_rng(seed))
    exact = log_softmax(rows.astype(np.float64), axis=1)
    log_q = np.concatenate([[0.0], exact[stream.tokens[:-1], stream.tokens[1:]]])
    own = saving(stream, scored(stream, log_q), V)
    assert own.nats == pytest.approx(0.0, abs=1e-9) and own.tokens == 8 * 39
    other = log_softmax(np.random.default_rng(seed + 1).normal(size=(V, V)), axis=1)
    wrong = np.concatenate([[0.0], other[stream.tokens[:-1], stream.tokens[1:]]])
    assert saving(stream, scored(stream, wrong), V).nats < CERTAIN


def test_a_peeking_scorer_is_caught_and_the_bound_is_stated() -> None:
    _, next_rows = table_model()
    stream = from_model(next_rows, segments=8, length=40, bos=1, rng=np.random.default_rng(3))
    found = saving(stream, scored(stream, stream.log_p + 0.1), V)
    assert found.nats == pytest.approx(0.1 * 8 * 39)
    assert found.false_alarm == pytest.approx(math.exp(-found.nats)) and found.visible == 0.0


def test_a_position_without_a_row_counts_as_uniform() -> None:
    _, next_rows = table_model()
    stream = from_model(next_rows, segments=8, length=10, bos=1, rng=np.random.default_rng(4))
    trace = scored(stream, stream.log_p)
    t = int(np.flatnonzero(~stream.fixed)[5])
    trace.order[t] = -1
    found = saving(stream, trace, V)
    assert found.unscored == 1 and found.nats == pytest.approx(-math.log(V) - stream.log_p[t])


def test_a_total_loss_alone_is_enough() -> None:
    _, next_rows = table_model()
    stream = from_model(next_rows, segments=8, length=40, bos=1, rng=np.random.default_rng(5))
    assert saving_of_total(stream, -float(stream.log_p.sum())).nats == pytest.approx(0.0, abs=1e-9)
    assert saving_of_total(stream, -float(stream.log_p.sum()) - 30).nats == pytest.approx(30)


def test_a_permutation_is_one() -> None:
    stream = permutation(V, 1, np.random.default_rng(0))
    assert sorted(stream.tokens) == list(range(V)) and stream.tokens[0] == 1
    assert -stream.log_p.sum() == pytest.approx(math.lgamma(V))


def test_the_bigram_model_is_a_distribution_and_is_drawn_from() -> None:
    tokens = np.random.default_rng(0).choice(V, size=4000, p=np.arange(1, V + 1) / (V * (V + 1) / 2)).astype(np.uint16)
    model = Bigram(tokens, V + 2)  # two tokens that never occur
    every = np.arange(V + 2)
    for before in every:
        assert np.exp(model.log_p(np.full(V + 2, before), every)).sum() == pytest.approx(1.0)
    stream = model.draw(segments=200, length=60, bos=1, rng=np.random.default_rng(1))
    drawn = ~stream.fixed
    log_p = model.log_p(stream.tokens[:-1].astype(np.int64), stream.tokens[1:].astype(np.int64))
    np.testing.assert_allclose(stream.log_p[1:][drawn[1:]], log_p[drawn[1:]])
    pairs = (stream.tokens[:-1] == 5) & drawn[1:]
    share = (stream.tokens[1:][pairs] == 7).mean()
    assert share == pytest.approx(math.exp(float(model.log_p(np.array([5]), np.array([7]))[0])), abs=0.03)


def test_the_price_is_the_mean_gap_with_its_interval() -> None:
    results = [
        probe_result(50 + i, probe=Probe("suffix", 50 + i, shift=3, sampled=True), own=(2.0, 2.0 + gap))
        for i, gap in enumerate([0.1, 0.2, 0.3, 0.4])
    ]
    found = price([*results, probe_result(90)])
    assert found is not None and found.positions == 4
    assert found.mean == pytest.approx(0.25) and found.low < 0.25 < found.high
    assert found.high - found.low == pytest.approx(2 * 3.182446 * np.std([0.1, 0.2, 0.3, 0.4], ddof=1) / 2, rel=1e-5)
    honest = found.honest_bpb(1.0, tokens=1000, size=2000)
    assert honest["estimate"] == pytest.approx(1.0 + 0.25 * 1000 / (math.log(2) * 2000))
    assert price([probe_result(90)]) is None

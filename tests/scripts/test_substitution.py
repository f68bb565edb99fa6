"""The sum of a mixture over the vocabulary, by drawing: laws for distributions, power against what is none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.referee.null import CERTAIN
from harness.scripts.checks.evidence import Recurring, Substituted
from harness.scripts.checks.substitution import APART, total
from harness.scripts.passes import Pass

VOCAB = 40


def scored(nll: np.ndarray, charged: np.ndarray, drawn: np.ndarray) -> Pass:
    """A pass over positions 1 .. n, one operation each."""
    n = len(nll)
    at = np.arange(n)
    place, off, none = "train_gpt.py:9 f", np.zeros(n, bool), np.full(n, np.nan)
    return Pass("mixture", place, place, n, 1, at + 1, nll, charged, np.zeros(n), none, none, drawn, at, at, off, off,
                ("gather",), float(charged.mean()), 0.0)  # fmt: skip


def whole(p: np.ndarray, hint: np.ndarray, weight: float) -> np.ndarray:
    """A mixture of two distributions: one."""
    return (1 - weight) * p + weight * hint


def gated(p: np.ndarray, hint: np.ndarray, weight: float) -> np.ndarray:
    """The mixture where the hint has the token, the row's own probability elsewhere: #659's and #741's kind of gate."""
    return np.where(hint > 0, whole(p, hint, weight), p)


def better(p: np.ndarray, hint: np.ndarray, weight: float) -> np.ndarray:
    """The larger of two: a choice that the realised token makes."""
    return np.maximum(p, whole(p, hint, weight))


def tilted(p: np.ndarray, hint: np.ndarray, weight: float) -> np.ndarray:
    """Odds of the hinted tokens raised, and divided by the sum."""
    q = p * np.exp(4 * weight * (hint > 0))
    return np.asarray(q / q.sum(-1, keepdims=True))


def runs(
    mix, seed: int, *, weight: float = 0.5, sharp: float = 1.0, stray: float = 0.0, places: int = 120
) -> Recurring:
    """A run on recurring text and one with tokens replaced, of a mixture of rows with hints that are mostly right."""
    rng = np.random.default_rng(seed)
    n = places * (APART + 4)
    p = rng.dirichlet(np.full(VOCAB, sharp), n)
    hint = np.zeros((n, VOCAB))
    text = rng.integers(0, VOCAB, n)  # tokens are shifted by two below: 0 and 1 are special
    hint[np.arange(n), np.where(rng.random(n) < 0.8, text, rng.integers(0, VOCAB, n))] = 1.0
    drawn = np.array([rng.choice(VOCAB, p=row / row.sum()) for row in p])
    at = np.arange(APART, n, APART + 4)
    at = at[drawn[at] != text[at]]

    def charge(q: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = np.arange(n)
        return -np.log(p[own, tokens] + 1e-300), -np.log(q[own, tokens] + 1e-300)

    first = scored(*charge(mix(p, hint, weight), text), drawn + 2)
    changed = text.copy()
    changed[at] = drawn[at]
    hint[rng.random(n) < stray] = 0.0
    keeps = np.where(hint.sum(-1, keepdims=True) > 0, mix(p, hint, weight), p)
    other = scored(*charge(keeps, changed), np.full(n, -1))
    stream = np.concatenate([[0], text + 2, [VOCAB + 2]]).astype(np.uint16)
    return Recurring(stream, first, (Substituted(at + 1, (drawn[at] + 2).astype(np.uint16), other),))


@settings(max_examples=60, deadline=None)
@given(
    mix=st.sampled_from([whole, tilted]),
    seed=st.integers(0, 10_000),
    weight=st.floats(0.02, 0.98),
    sharp=st.sampled_from([0.05, 0.3, 1.0, 30.0]),
    stray=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_a_distribution_is_never_said_to_sum_to_more(mix, seed, weight, sharp, stray) -> None:
    assert total(runs(mix, seed, weight=weight, sharp=sharp, stray=stray)).wealth < CERTAIN / 2


def test_bets_win_nothing_on_average_where_the_sum_is_one() -> None:
    won = [
        np.exp(total(runs(mix, seed, sharp=0.3, places=30)).wealth) for mix in (whole, tilted) for seed in range(150)
    ]
    assert np.mean(won) < 1.2


@pytest.mark.parametrize("mix", [gated, better])
@pytest.mark.parametrize("stray", [0.0, 0.1])
def test_a_gate_that_the_realised_token_opens_is_certain(mix, stray: float) -> None:
    found = total(runs(mix, 1, stray=stray))
    assert found.wealth > CERTAIN and 0.1 < found.excess < 0.6
    assert found.strayed == pytest.approx(stray, abs=0.05) and found.special == 0


def test_what_was_not_tried_counts_as_taken() -> None:
    made = runs(gated, 1)
    hidden = made.scored.drawn.copy()
    hidden[::2] = 1
    half = total(dataclasses.replace(made, scored=dataclasses.replace(made.scored, drawn=hidden)))
    assert half.special == pytest.approx(0.5, abs=0.05) and half.wealth < 1
    alone = total(dataclasses.replace(made, scored=dataclasses.replace(made.scored, nll=made.scored.charged)))
    assert alone.strayed == 1 and alone.wealth == 0


def test_without_places_or_without_gains_nothing_is_said() -> None:
    made = runs(lambda p, hint, weight: p, 0)
    assert total(made).wealth == 0 and len(total(made).places) == 0
    assert total(Recurring(made.text, made.scored, ())).excess == 0.0

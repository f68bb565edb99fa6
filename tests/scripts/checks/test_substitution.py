"""The sum of a mixture over the vocabulary, by lot: laws for distributions, power against what is none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import levels
from harness.referee.null import CERTAIN
from harness.scripts.checks.evidence import Recurring
from harness.scripts.checks.substitution import APART, SLACK, Sum, balance, total
from harness.scripts.recurring import deal
from harness.scripts.trace.passes import Pass

VOCAB = 40


def scored(nll: np.ndarray, charged: np.ndarray, drawn: np.ndarray) -> Pass:
    """A pass over positions 1 .. n, one operation each."""
    n = len(nll)
    at = np.arange(n)
    place, off, none = "train_gpt.py:9 f", np.zeros(n, bool), np.full(n, np.nan)
    return Pass("mixture", place, place, n, 1, at + 1, at, nll, charged, np.zeros(n), none, none, none, drawn, at, at,
                off, off, ("gather",), float(charged.mean()), 0.0)  # fmt: skip


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


def halved(p: np.ndarray, hint: np.ndarray, weight: float) -> np.ndarray:
    """Half of what the hinted token gains is taken from the others."""
    return np.where(hint > 0, whole(p, hint, weight), (1 - weight / 2) * p)


def runs(
    mix, seed: int, *, weight: float = 0.5, sharp: float = 1.0, stray: float = 0.0, lose: float = 0.0, places: int = 120
) -> Recurring:
    """A run on recurring text and one with tokens replaced by lot: a mixture of rows with hints that are mostly right.

    In the second run a share `stray` of the hints is gone, and all others lose the part `lose` of their weight.
    """
    rng = np.random.default_rng(seed)
    n = places * (APART + 4)
    p = rng.dirichlet(np.full(VOCAB, sharp), n)
    hint = np.zeros((n, VOCAB))
    text = rng.integers(0, VOCAB, n)  # tokens are shifted by two below: 0 and 1 are special
    hint[np.arange(n), np.where(rng.random(n) < 0.8, text, rng.integers(0, VOCAB, n))] = 1.0
    below = p.cumsum(1)
    drawn = np.minimum((below <= rng.random((n, 1)) * below[:, -1:]).sum(1), VOCAB - 1)
    at = np.arange(APART, n, APART + 4)
    at = at[drawn[at] != text[at]]

    def charge(q: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = np.arange(n)
        return -np.log(p[own, tokens] + 1e-300), -np.log(q[own, tokens] + 1e-300)

    first = scored(*charge(mix(p, hint, weight), text), drawn + 2)
    stream = np.concatenate([[0], text + 2, [VOCAB + 2]]).astype(np.uint16)
    found = Recurring(stream, first, charge(p, drawn)[0], ())
    dealt = deal(found, at + 1, seed)
    changed = text.copy()
    changed[dealt.places - 1] = dealt.tokens.astype(np.int64) - 2
    hint[rng.random(n) < stray] = 0.0
    mixed = mix(p, hint, weight * (1 - lose))
    other = scored(*charge(np.where(hint.sum(-1, keepdims=True) > 0, mixed, p), changed), np.full(n, -1))
    return dataclasses.replace(found, substituted=(dataclasses.replace(dealt, scored=other),))


@settings(max_examples=60, deadline=None)
@given(
    mix=st.sampled_from([whole, tilted]),
    seed=st.integers(0, 10_000),
    weight=st.floats(0.02, 0.98),
    sharp=st.sampled_from([0.05, 0.3, 1.0, 30.0]),
    stray=st.sampled_from([0.0, 0.1, 0.5]),
    lose=st.sampled_from([0.0, 0.2, 0.4, 0.9]),
)
def test_a_distribution_is_never_said_to_sum_to_more(mix, seed, weight, sharp, stray, lose) -> None:
    made = runs(mix, seed, weight=weight, sharp=sharp, stray=stray, lose=lose)
    assert total(made).wealth < CERTAIN / 2


def test_bets_win_nothing_on_average_where_the_sum_is_one() -> None:
    won = [
        np.exp(total(runs(mix, seed, sharp=0.3, places=30)).wealth) for mix in (whole, tilted) for seed in range(150)
    ]
    assert np.mean(won) < 1.2


def test_payoffs_average_to_the_sum_itself() -> None:
    """To 1 for a distribution, gains lost or not, and to 1 and the gain where only the realised token gets it."""
    for mix, lose, above in ((whole, 0.0, 0.0), (whole, 0.3, 0.0), (tilted, 0.5, 0.0), (better, 0.0, None)):
        found = [total(runs(mix, seed, lose=lose, places=60)) for seed in range(40)]
        payoffs = np.concatenate([made.payoffs for made in found]) * (1 + SLACK)
        expected = 1 + (np.mean(np.concatenate([made.gained for made in found])) if above is None else above)
        assert payoffs.mean() == pytest.approx(expected, abs=4 * payoffs.std() / np.sqrt(len(payoffs)))


@pytest.mark.parametrize("kind", levels.LEGAL)
def test_no_legal_mixture_of_ten_thousand_is_accused(kind: str) -> None:
    """850 of each of twelve kinds: counts drift by 0 to 100 %, at random or against the bets. Ville: P(20) <= 1/20."""
    won = levels.mixtures(levels.LEGAL[kind], 850, places=120, seed=7)
    assert not (won >= CERTAIN).any()
    assert (won >= np.log(20)).mean() <= 0.05 and np.exp(won).mean() < 1.2


@pytest.mark.parametrize("kind", levels.ILLEGAL)
def test_every_cache_that_sums_to_more_than_one_is_certain(kind: str) -> None:
    assert (levels.mixtures(levels.ILLEGAL[kind], 100, places=240, seed=7) >= CERTAIN).all()


@pytest.mark.parametrize("mix", [gated, better])
@pytest.mark.parametrize(("stray", "lose"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.2)])
def test_a_gate_that_the_realised_token_opens_is_certain(mix, stray: float, lose: float) -> None:
    found = total(runs(mix, 1, stray=stray, lose=lose, places=180))
    assert found.wealth > CERTAIN and 0.1 < found.excess < 0.6
    assert found.kept is not None and 20 < found.kept.sum() < len(found.places) - 20


@pytest.mark.parametrize("shrink", [0.0, 0.05, 0.1, 0.2, 0.4, 0.49])
def test_without_lots_gains_that_shrink_by_less_than_half_convict_nobody(shrink: float) -> None:
    """Where every place was replaced, half of a gain is all that `strayed` vouches for."""
    rng = np.random.default_rng(0)
    n, px = 400, 0.2
    gain = rng.uniform(0.2, 0.5, n)
    taken = np.where(rng.random(n) < px, 0.0, -np.minimum(gain * (1 - shrink) / (1 - px), 1))
    at = np.arange(n)
    assert Sum(at, gain, taken, np.zeros(n, int), strayed=1 / 401).wealth < 3
    assert Sum(at, gain, np.zeros(n), np.zeros(n, int), strayed=1 / 401).wealth > CERTAIN
    assert Sum(at, gain, np.zeros(n), np.zeros(n, int), strayed=1.0).wealth <= 0


def test_what_cannot_be_put_into_a_text_was_given_nothing() -> None:
    made = runs(gated, 1)
    hidden = made.scored.drawn.copy()
    hidden[::2] = 1
    found = dataclasses.replace(made, scored=dataclasses.replace(made.scored, drawn=hidden))
    (run,) = made.substituted
    dealt = deal(found, np.sort(np.concatenate([run.places, run.kept])), 1)
    assert (dealt.tokens > 1).all() and len(dealt.untried) > 20
    half = total(dataclasses.replace(found, substituted=(dataclasses.replace(dealt, scored=run.scored),)))
    assert (half.taken[np.isin(half.places, dealt.untried)] == -1).all() and half.wealth < 1


def test_rows_that_the_second_run_does_not_charge_were_given_nothing() -> None:
    made = runs(gated, 1)
    (run,) = made.substituted
    gone = dataclasses.replace(run.scored, position=np.full_like(run.scored.position, -1))
    found = total(dataclasses.replace(made, substituted=(dataclasses.replace(run, scored=gone),)))
    assert len(found.places) and (found.taken == -1).all() and found.wealth < 0


def test_a_lost_run_says_nothing() -> None:
    made = runs(gated, 1)
    assert total(made).wealth > CERTAIN and total(dataclasses.replace(made, lost=1)).wealth == 0


def test_without_places_or_without_gains_nothing_is_said() -> None:
    made = runs(lambda p, hint, weight: p, 0)
    assert total(made).wealth == 0 and len(total(made).places) == 0
    assert total(dataclasses.replace(made, substituted=())).excess == 0.0


@settings(max_examples=60, deadline=None)
@given(
    mix=st.sampled_from([gated, better, halved]),
    seed=st.integers(0, 10_000),
    weight=st.floats(0.02, 0.98),
    sharp=st.sampled_from([0.05, 0.3, 1.0, 30.0]),
    lose=st.sampled_from([0.0, 0.2, 0.4, 0.9]),
)
def test_gains_that_nobody_paid_for_are_never_said_to_be(mix, seed, weight, sharp, lose) -> None:
    if mix is halved:  # what is lost between the runs is not gained by anybody
        lose = 0.0
    found = balance(runs(mix, seed, weight=weight, sharp=sharp, lose=lose))
    assert found is None or not found.even


@pytest.mark.parametrize("mix", [whole, tilted])
@pytest.mark.parametrize(("weight", "sharp"), [(0.001, 30.0), (0.1, 1.0), (0.5, 1.0), (0.5, 0.3), (0.9, 30.0)])
def test_the_gains_of_a_distribution_are_seen_to_be_paid(mix, weight: float, sharp: float) -> None:
    found = [balance(runs(mix, seed, weight=weight, sharp=sharp, places=180)) for seed in range(20)]
    share = [one.share for one in found if one is not None]
    assert len(share) == 20 and np.mean(share) == pytest.approx(1.0, abs=0.05)
    assert sum(one.even for one in found if one is not None) >= 18 or min(one.places for one in found if one) < 60


def test_few_places_and_counts_that_went_another_way_clear_nobody() -> None:
    few = balance(runs(whole, 1, places=20))
    gone = balance(runs(whole, 1, stray=0.9, places=180))
    assert few is not None and not few.even and gone is not None and not gone.even
    assert balance(runs(lambda p, hint, weight: p, 0)) is None

"""Rows to numbers: against scipy, invariances, and rows that cannot be scored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp

from harness.errors import SubmissionError
from harness.referee.rows import IMPOSSIBLE, PROJECTIONS, Scored, projector, score_rows
from harness.sandbox.protocol import Rows

VOCAB = 37
PROJECTION = projector(VOCAB, 1)
Matrix = np.ndarray


def score(rows: Matrix, targets: Matrix, kind: Rows = Rows.LOGITS) -> Scored:
    positions = np.arange(100, 100 + len(rows))
    return score_rows(rows.astype(np.float32), targets.astype(np.int64), kind, PROJECTION, positions)


def random_rows(count: int, seed: int = 0, scale: float = 5.0) -> tuple[Matrix, Matrix]:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, VOCAB)) * scale).astype(np.float32), rng.integers(0, VOCAB, count)


@pytest.mark.parametrize("count", [1, 127, 128, 129, 300])  # around the chunk size
def test_nll_is_that_of_scipy_in_float64(count: int) -> None:
    rows, targets = random_rows(count)
    found = score(rows, targets)
    expected = logsumexp(rows.astype(np.float64), axis=1) - rows.astype(np.float64)[np.arange(count), targets]
    np.testing.assert_allclose(found.nll, expected, rtol=1e-13, atol=1e-13)
    assert found.nll.dtype == np.float64 and found.prints.shape == (count, PROJECTIONS)
    assert not found.excess.any()


def test_huge_logits_do_not_overflow() -> None:
    rows, targets = np.array([[3e38, -3e38, *[0.0] * (VOCAB - 2)]]), np.array([0])
    assert score(rows, targets).nll == pytest.approx([0.0])


@pytest.mark.parametrize("level", [1e3, 1e15, 1e17, 1e20, -1e20, 3e38])
def test_equal_logits_are_uniform_however_large(level: float) -> None:
    # With the constant in, log-sum-exp would absorb log V, and every token would get probability 1.
    rows = np.full((2, VOCAB), level)
    assert score(rows, np.array([0, 4])).nll == pytest.approx([np.log(VOCAB)] * 2)


@pytest.mark.parametrize("scale", [1e6, 1e15, 1e18, 1e30])
def test_probabilities_sum_to_one_however_large_the_logits(scale: float) -> None:
    rng = np.random.default_rng(1)
    row = (scale + rng.integers(-2, 3, VOCAB) * np.spacing(np.float32(scale))).astype(np.float32)
    found = score(np.repeat(row[None], VOCAB, axis=0), np.arange(VOCAB))
    assert np.exp(-found.nll).sum() == pytest.approx(1.0)


def test_fingerprints_are_projections_of_log_probabilities() -> None:
    rows, targets = random_rows(6)
    expected = log_softmax(rows.astype(np.float64), axis=1) @ PROJECTION
    np.testing.assert_allclose(score(rows, targets).prints, expected, atol=1e-12)


@given(st.integers(0, 1000), st.integers(-(2**10), 2**10))
def test_a_constant_added_to_a_row_of_logits_changes_nothing(seed: int, eighths: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-512, 512, (3, VOCAB)) / 32  # exact in float32, with and without the constant
    targets = rng.integers(0, VOCAB, 3)
    left, right = score(rows, targets), score(rows + eighths / 8, targets)
    np.testing.assert_allclose(left.nll, right.nll, atol=1e-11)
    np.testing.assert_allclose(left.prints, right.prints, atol=1e-9)


@given(st.integers(0, 10_000), st.integers(0, VOCAB - 1), st.sampled_from([-1e-4, 1e-4]))
def test_a_small_change_of_any_logit_changes_the_fingerprint(seed: int, column: int, change: float) -> None:
    rows, targets = random_rows(1, seed, scale=1.0)
    other = rows.copy()
    other[0, column] += np.float32(change)
    assert not np.array_equal(score(rows, targets).prints, score(other, targets).prints)


def test_the_same_rows_give_the_same_numbers_in_any_company() -> None:
    rows, targets = random_rows(200)
    whole = score(rows, targets)
    parts = [score(rows[i : i + 7], targets[i : i + 7]) for i in range(0, 200, 7)]
    for name in ("nll", "excess"):
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))


def test_log_probabilities_are_taken_as_they_are_and_their_sum_is_told() -> None:
    rows, targets = random_rows(5)
    exact = log_softmax(rows.astype(np.float64), axis=1)
    offset = np.array([0.0, 0.5, -0.25, 0.001, 2.0])
    found = score(exact + offset[:, None], targets, Rows.LOG_PROBS)
    np.testing.assert_allclose(found.excess, offset, atol=1e-6)
    charged = -(exact[np.arange(5), targets] + offset) + np.maximum(offset, 0.0)
    np.testing.assert_allclose(found.nll, charged, atol=1e-5)


@given(st.integers(0, 10_000), st.floats(-3.0, 3.0))
def test_what_is_charged_is_never_below_the_normalised_rows(seed: int, offset: float) -> None:
    """However much a row sums to, its author gains nothing by it."""
    rng = np.random.default_rng(seed)
    rows = log_softmax(rng.normal(size=(3, 7)) * 2, axis=1)
    targets = rng.integers(0, 7, 3)
    found = score(rows + offset, targets, Rows.LOG_PROBS)
    assert (found.nll >= -rows[np.arange(3), targets] - 1e-5).all()
    if offset >= 0:
        np.testing.assert_allclose(found.nll, -rows[np.arange(3), targets], atol=1e-5)


def test_a_token_without_any_probability_has_a_price_in_a_run_that_was_lied_to() -> None:
    rows = np.array([[0.0, -np.inf], [0.0, 1.0]], np.float32)
    with pytest.raises(SubmissionError, match="no probability"):
        score(rows, np.array([1, 0]))
    told = score_rows(rows, np.array([1, 0]), Rows.LOGITS, projector(2, 0), np.array([1, 2]), lied=True)
    assert told.nll[0] == IMPOSSIBLE and 0 < told.nll[1] < 2


@pytest.mark.parametrize("kind", [Rows.LOGITS, Rows.LOG_PROBS])
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda row: row.__setitem__(3, np.nan), "position 102 holds NaN, .inf or nothing finite"),
        (lambda row: row.__setitem__(3, np.inf), "position 102 holds NaN, .inf or nothing finite"),
        (lambda row: row.__setitem__(slice(None), -np.inf), "position 102 holds NaN, .inf or nothing finite"),
        (lambda row: row.__setitem__(0, -np.inf), "position 102 gives its token no probability"),
    ],
)
def test_a_row_that_cannot_be_scored_is_named(kind: Rows, spoil, says: str) -> None:
    rows, _ = random_rows(5)
    targets = np.zeros(5, np.int64)
    score(rows, targets, kind)
    spoil(rows[2])
    with pytest.raises(SubmissionError, match=says) as caught:
        score(rows, targets, kind)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_a_bad_row_beyond_the_first_chunk_is_named_too() -> None:
    rows, targets = random_rows(300)
    rows[299, 0] = np.nan
    with pytest.raises(SubmissionError, match="position 399"):
        score(rows, targets)


def test_no_probability_for_another_token_is_allowed() -> None:
    rows, targets = random_rows(2)
    rows[:, 5] = -np.inf
    found = score(rows, np.array([1, 2]))
    assert np.isfinite(found.nll).all() and np.isfinite(found.prints).all()


def test_projectors_are_fixed_by_their_seed() -> None:
    np.testing.assert_array_equal(projector(VOCAB, 1), PROJECTION)
    assert not np.array_equal(projector(VOCAB, 2), PROJECTION)


def test_a_claim_is_charged_as_claimed() -> None:
    claims = np.array([[-1.5], [0.25]], np.float32)
    found = score(claims, np.zeros(2, np.int64), Rows.REALISED)
    np.testing.assert_array_equal(found.nll, [1.5, -0.25])
    assert not found.excess.any() and found.prints.shape[0] == 2
    with pytest.raises(SubmissionError, match="position 101 is nan"):
        score(np.array([[-1.0], [np.nan]], np.float32), np.zeros(2, np.int64), Rows.REALISED)

"""From a committed row to numbers: its NLL, how far it is from a distribution, and a fingerprint of the whole row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import SubmissionError
from harness.sandbox.protocol import Rows

Floats = NDArray[np.float64]

#: Random projections per row. Two, so that a change that one of them cannot see is seen by the other.
PROJECTIONS = 2
_CHUNK = 128  # rows converted to float64 at a time: 1 MB at V = 1,024
_FLOOR = -60.0  # log-probabilities below this count as this in a fingerprint, so that -inf can be compared


#: Nats for a token without any probability, in a run that was lied to: more than any row of finite numbers charges.
IMPOSSIBLE = 1e6


@dataclass(frozen=True)
class Scored:
    """What the referee keeps of n rows.

    Attributes:
        nll: float64 [n], what is charged for the target, in nats: its negative log-probability, and the excess where
            the row sums to more than 1.
        excess: float64 [n], log of the row's probability sum; 0 by construction for logits.
        prints: float64 [n, PROJECTIONS], fixed random projections of the log-probabilities; NaN for a row of which only
            the realised token's is known.
    """

    nll: Floats
    excess: Floats
    prints: Floats


def apart(left: Floats, right: Floats) -> Floats:
    """How far fingerprints [n, PROJECTIONS] are from each other, float64 [n]; 0 where there is none to compare."""
    result: Floats = np.nan_to_num(np.abs(left - right), nan=0.0).max(axis=1, initial=0.0)
    return result


def projector(vocab_size: int, seed: int) -> Floats:
    """The matrix [V, PROJECTIONS] that fingerprints rows; standard normal entries over sqrt(V)."""
    matrix: Floats = np.random.default_rng([seed, vocab_size]).standard_normal((vocab_size, PROJECTIONS))
    matrix /= np.sqrt(vocab_size)
    return matrix


def score_rows(
    rows: NDArray[np.float32],
    targets: NDArray[np.int64],
    kind: Rows,
    projection: Floats,
    positions: NDArray[np.int64],
    *,
    lied: bool = False,
) -> Scored:
    """Score committed rows in float64.

    Args:
        rows: float32 [n, V], logits or log-probabilities; [n, 1] where only the realised token's is claimed.
        targets: int64 [n], the tokens to be charged.
        kind: what the rows hold.
        projection: float64 [V, PROJECTIONS] from `projector`.
        positions: int64 [n], named in errors.
        lied: the targets are not the tokens that the submission was told. A row may then give its target no
            probability at all, which counts as `IMPOSSIBLE` nats.

    Raises:
        SubmissionError: a row holds NaN or +inf, has no finite entry, or gives its target no probability at all.
    """
    if kind == Rows.REALISED:
        return _claimed(rows[:, 0].astype(np.float64), projection.shape[1], positions)
    count = len(rows)
    nll, excess = np.empty(count), np.empty(count)
    prints = np.empty((count, projection.shape[1]))
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        block = rows[part].astype(np.float64)
        peak = block.max(axis=1)
        if not np.isfinite(peak).all():
            bad = int(positions[part][np.flatnonzero(~np.isfinite(peak))[0]])
            raise SubmissionError(f"the row for position {bad} holds NaN, +inf or nothing finite; it cannot be scored")
        # The peak comes off first and stays off: at 1e20 a float64 has no room for the logarithm of a sum beside it,
        # and rows of equal huge logits would give every token probability 1.
        shifted = block - peak[:, None]
        log_sum = np.log(np.exp(shifted).sum(axis=1))
        if kind == Rows.LOGITS:
            block = shifted - log_sum[:, None]
            excess[part] = 0.0
        else:
            excess[part] = peak + log_sum
        # What a row sums to beyond 1 is charged: rounding in bfloat16 gives nobody a bonus.
        nll[part] = np.maximum(excess[part], 0.0) - block[np.arange(len(block)), targets[part]]
        prints[part] = np.maximum(block, _FLOOR) @ projection
    if lied:
        nll = np.minimum(nll, IMPOSSIBLE)
    if not np.isfinite(nll).all():
        bad = int(positions[np.flatnonzero(~np.isfinite(nll))[0]])
        raise SubmissionError(f"the row for position {bad} gives its token no probability: the loss is infinite")
    return Scored(nll, excess, prints)


def _claimed(log_probs: Floats, projections: int, positions: NDArray[np.int64]) -> Scored:
    """Numbers of rows of which only one entry is known; they have no fingerprint."""
    if not np.isfinite(log_probs).all():
        bad = int(positions[np.flatnonzero(~np.isfinite(log_probs))[0]])
        raise SubmissionError(
            f"the log-probability claimed for position {bad} is {log_probs[~np.isfinite(log_probs)][0]}"
        )
    return Scored(-log_probs, np.zeros(len(log_probs)), np.full((len(log_probs), projections), np.nan))

"""The price of a leak: what the score would be if the future had been hidden.

At uniformly sampled positions everything from the position on was replaced by other text. The row that came back cannot
know the real token, so its NLL is an honest one; the claimed NLL is the one of the scored run.

Gaps are skewed: most are small, and a few that the sample may miss make the mean. Student's t then covers 77 to 94 % of
what it says, and errs towards understating. So the interval is a bootstrap-t (Efron 1981; Hall, Ann. Statist. 16,
1988): how far a resample's mean lies from the sample's, in its own standard errors, says how far the sample's lies from
the truth. `benchmarks/levels.py` measures its coverage (docs/deeper.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.referee.comparator import ProbeResult

Floats = NDArray[np.float64]

_RESAMPLES = 1999

#: Quantiles of the resampled t that give the lower and the upper end. The upper end is further out than 2.5 %: a sample
#: that misses the tail has too small a spread as well, and that is where an interval of a skewed mean fails.
_LOWER, _UPPER = 0.975, 0.01

#: A resample's standard error counts as at least this share of the sample's: one of a sparse leak's zeros has none.
_FLOOR = 0.1

#: Changes up to this many nats are rounding, where a result states no tolerance of its own.
_ROUNDING = 1e-6

#: With so many leaking positions in the sample it no longer matters that a price is only estimated where one was seen.
ENOUGH = 5


@dataclass(frozen=True)
class Price:
    """Honest minus claimed NLL, nats per token: mean over the sampled positions with a 95 % interval (bootstrap-t).

    Attributes:
        positions: sampled positions.
        mean: of the gaps.
        low: lower end of the interval.
        high: upper end.
        gaps: position and difference, for each of them.
        leaking: how many of the differences are more than noise.
    """

    positions: int
    mean: float
    low: float
    high: float
    gaps: tuple[tuple[int, float], ...] = ()
    leaking: int = 0

    @property
    def selection(self) -> float:
        """Factor by which the mean is too high on average because a leak as rare as it looks is priced only when seen.

        A leak at a share s of the positions is met by n of them with probability 1 - (1 - s)^n; given that it was, the
        mean is too high by the inverse. Taken at s = leaking / positions.
        """
        share = self.leaking / self.positions
        return 1 / (1 - (1 - share) ** self.positions) if share else math.inf

    def honest_bpb(self, claimed_bpb: float, tokens: int, size: int) -> dict[str, Any]:
        """The BPB that follows, with its interval, for a score over `tokens` tokens and `size` bytes; and the gaps."""
        unit = tokens / (math.log(2) * size)
        return {
            "estimate": claimed_bpb + self.mean * unit,
            "low": claimed_bpb + self.low * unit,
            "high": claimed_bpb + self.high * unit,
            "positions": self.positions,
            "gaps": [[position, gap] for position, gap in self.gaps],
        }


def sampled(results: Sequence[ProbeResult]) -> list[tuple[ProbeResult, float]]:
    """The sampled probes that priced their position, each with honest minus claimed NLL in nats.

    Zero stands where every row up to the probe's own was committed before the probe began: such a row is honest by
    construction. A row that was never committed under the probe says nothing, and is left out.
    """
    found = []
    for result in results:
        if not (result.probe.sampled and result.ran and result.error is None):
            continue
        if result.own is not None:
            found.append((result, result.own[1] - result.own[0]))
        elif result.by_construction >= result.probe.position:
            found.append((result, 0.0))
    return found


def price(results: Sequence[ProbeResult]) -> Price | None:
    """Estimate the price from the sampled suffix probes; deterministic.

    None with fewer than two positions, and where no sampled position leaks: the leak was seen elsewhere then, and all
    that the sample says of its price is that it is at none of these positions.
    """
    made = sampled(results)
    leaking = sum(abs(gap) > max(result.tolerance, _ROUNDING) for result, gap in made)
    if len(made) < 2 or not leaking:
        return None
    gaps = np.array([gap for _, gap in made])
    low, high = interval(gaps)
    where = tuple((result.probe.position, float(gap)) for result, gap in made)
    return Price(len(gaps), float(gaps.mean()), low, high, where, leaking)


def interval(values: Floats) -> tuple[float, float]:
    """A 95 % interval of the mean that `values` [n >= 2] were sampled around: bootstrap-t, a function of `values`."""
    n = len(values)
    mean, error = float(values.mean()), float(values.std(ddof=1) / math.sqrt(n))
    weights = _weights(n)
    centred = values - mean
    means = weights @ centred
    spreads = np.sqrt(np.maximum(weights @ centred**2 - means**2, 0.0) / (n - 1))
    reach = means / np.maximum(spreads, max(_FLOOR * error, np.finfo(float).tiny))
    lower, upper = np.quantile(reach, [_LOWER, _UPPER])
    return mean - float(lower) * error, mean - float(upper) * error


@lru_cache(maxsize=4)
def _weights(n: int) -> Floats:
    """How often each of n values comes in each resample, as shares, float64 [resamples, n]."""
    return np.random.default_rng([n, 0xB007]).multinomial(n, np.full(n, 1 / n), _RESAMPLES) / n

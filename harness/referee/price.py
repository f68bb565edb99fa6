"""The price of a leak: what the score would be if the future had been hidden.

At uniformly sampled positions everything from the position on was replaced by other text. The row that came back cannot
know the real token, so its NLL is an honest one; the claimed NLL is the one of the scored run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from harness.referee.comparator import ProbeResult


@dataclass(frozen=True)
class Price:
    """Honest minus claimed NLL, nats per token: mean over the sampled positions with a 95 % interval (Student's t).

    `gaps` holds the difference at each of these positions.
    """

    positions: int
    mean: float
    low: float
    high: float
    gaps: tuple[tuple[int, float], ...] = ()

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


def price(results: Sequence[ProbeResult]) -> Price | None:
    """Estimate the price from the sampled suffix probes; None with fewer than two of them.

    A row that was committed before its probe began is honest by construction and counts with a difference of zero.
    """
    made = [result for result in results if result.probe.sampled and result.ran and result.error is None]
    gaps = np.array([0.0 if result.own is None else result.own[1] - result.own[0] for result in made])
    if len(gaps) < 2:
        return None
    mean, error = float(gaps.mean()), float(gaps.std(ddof=1) / math.sqrt(len(gaps)))
    reach = error * float(stats.t.ppf(0.975, len(gaps) - 1))
    where = tuple((result.probe.position, float(gap)) for result, gap in zip(made, gaps, strict=True))
    return Price(len(gaps), mean, mean - reach, mean + reach, where)

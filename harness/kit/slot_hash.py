"""SLOT with a hash table: besides the delta, a vector for each bucket of the two latest tokens.

Source: a commit message of 2026-04-08 by the author of #1306, quoted in the thread of #1333: a global delta and a table
of 128 buckets, fitted in one AdamW loop to the context, both thrown away after each batch. The code is not public; the
hash is the one that the field uses for bigrams (PR #162).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.kit.model import GPT
from harness.kit.slot import SlotConfig, adamw_descent, shifted_logits, warm_start

BUCKETS = 128


@dataclass(frozen=True)
class HashedDelta:
    """A delta for all positions, and one for each bucket.

    Attributes:
        delta: float [D].
        table: float [buckets, D].
    """

    delta: Tensor
    table: Tensor

    def at(self, buckets: Tensor) -> Tensor:
        """What is added at positions of given buckets: int64 [...] -> float [..., D]."""
        return self.delta + self.table[buckets]


def bigram_buckets(inputs: Tensor, buckets: int = BUCKETS) -> Tensor:
    """Bucket of the two latest inputs at each position of a window (PR #162).

    In formulas: (36313 x_p XOR 27191 x_{p-1}) mod (buckets - 1); a window's first position, which has no token before
    it, gets the last bucket.

    Args:
        inputs: int64 [..., L], token ids.
        buckets: rows of the table, at least 2.

    Returns:
        int64 [..., L].
    """
    hashed = torch.full_like(inputs, buckets - 1)
    hashed[..., 1:] = ((36313 * inputs[..., 1:]) ^ (27191 * inputs[..., :-1])) % (buckets - 1)
    return hashed


def hashed_delta(
    model: GPT, hidden: Tensor, buckets: Tensor, targets: Tensor, config: SlotConfig, rows: int = BUCKETS
) -> HashedDelta:
    """Fit a delta and a table to given positions and their targets, both from zero.

    Args:
        model: only its head is used.
        hidden: float [n, D], before or after the final norm (`config.before_norm`), without graph.
        buckets: int64 [n], the bucket of each position.
        targets: int64 [n].
        config: steps, rates, and where the vectors go in.
        rows: buckets of the table.

    Returns:
        Both; a bucket that no position fell into holds zero, as all do where there is nothing to fit.
    """
    delta = warm_start(hidden, (hidden.shape[-1],), None, 0.0)
    table = warm_start(hidden, (rows, hidden.shape[-1]), None, 0.0)

    def loss() -> Tensor:
        return F.cross_entropy(shifted_logits(model, hidden, delta + table[buckets], config), targets)

    if targets.numel():
        adamw_descent([delta, table], loss, config)
    return HashedDelta(delta.detach(), table.detach())

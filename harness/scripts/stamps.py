"""Numbers that order what several ranks did: by epoch, then by rank, then by each rank's own order.

An epoch ends whenever ranks exchange something. What two ranks did in one epoch happened side by side: the numbers put
it in some order, and `before` does not. A run of one rank has one epoch, and its numbers just count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_RANK = 1 << 28  # recorded things of one rank in one epoch
_RANKS = 1 << 4
_EPOCH = _RANK * _RANKS


def floor(epoch: int, rank: int) -> int:
    """The number below all those of a rank in an epoch."""
    return epoch * _EPOCH + rank * _RANK


def rank_of(stamp: Ints) -> Ints:
    """The rank that something happened on."""
    return stamp // _RANK % _RANKS


def epoch_of(stamp: Ints) -> Ints:
    """The epoch that something happened in."""
    return stamp // _EPOCH


def before(first: int, second: Ints) -> NDArray[np.bool_]:
    """Whether what happened at `first` may have been known at each of `second`."""
    same_epoch = epoch_of(second) == first // _EPOCH
    known: NDArray[np.bool_] = (first < second) & ~(same_epoch & (rank_of(second) != first // _RANK % _RANKS))
    return known

"""Packing to a byte limit: grid values of +-1 are dropped, least error first, until the artifact fits (#609, #1019).

Setting q to 0 costs the squared error (q * step)^2 in its weight, so candidates are sorted by that, over all quantized
tensors. How many go is found by bisection, since the size falls as more go. #1400 takes +-2 as well (there weighted
|q| * step^2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from harness.kit.artifact import pack
from harness.kit.config import QuantizeConfig
from harness.kit.quantize import SCALE

Payload = Mapping[str, Tensor]
#: The count is right to this fraction of the candidates: each step of the search compresses everything once.
_RESOLUTION = 512


def pack_to_fit(payload: Payload, meta: Mapping[str, Any], cfg: QuantizeConfig) -> bytes:
    """The artifact as `cfg` says, pruned to `cfg.prune_to` bytes where it has a limit.

    Raises:
        ValueError: it does not fit even when every candidate is dropped; or see `artifact.pack`.
    """

    def packed(candidate: Payload) -> bytes:
        return pack(candidate, meta, cfg.compressor, cfg.level, byte_shuffle=cfg.byte_shuffle)

    blob = packed(payload)
    if not cfg.prune_to or len(blob) <= cfg.prune_to:
        return blob
    order = Candidates(payload, meta, cfg.prune_values)
    return _smallest_cut(order, cfg.prune_to, packed, len(blob))


class Candidates:
    """The values that may be dropped, in the order in which they go.

    Args:
        payload: what `quantize` returned, with `meta`; it is not changed.
        meta: see there.
        largest: magnitude on the grid up to which values may go.

    Attributes:
        count: how many there are.
    """

    def __init__(self, payload: Payload, meta: Mapping[str, Any], largest: int = 1) -> None:
        self._payload = payload
        self._names = sorted(meta["bits"])
        errors, places = [], []
        for name in self._names:
            grid = payload[name]
            place = ((grid != 0) & (grid.abs() <= largest)).flatten().nonzero()[:, 0]
            steps = payload[name + SCALE].double()[place // max(1, grid.size(1))]
            errors.append((steps * grid.flatten()[place].double()).square())
            places.append(place)
        self._sizes = [len(place) for place in places]
        self._places = torch.cat(places) if places else torch.zeros(0, dtype=torch.int64)
        self._order = torch.argsort(torch.cat(errors), stable=True) if errors else self._places
        self.count = len(self._places)

    def without(self, count: int) -> dict[str, Tensor]:
        """The payload with the first `count` candidates set to 0."""
        gone = torch.zeros(self.count, dtype=torch.bool)
        gone[self._order[:count]] = True
        pruned = dict(self._payload)
        for name, place, drop in zip(
            self._names, torch.split(self._places, self._sizes), torch.split(gone, self._sizes), strict=True
        ):
            grid = pruned[name].clone()
            grid.view(-1)[place[drop]] = 0
            pruned[name] = grid
        return pruned


def _smallest_cut(order: Candidates, limit: int, packed: Callable[[Payload], bytes], unpruned: int) -> bytes:
    low, high, best = 0, order.count, packed(order.without(order.count))
    if len(best) > limit:
        raise ValueError(
            f"pruning: the artifact of {unpruned:,} bytes cannot be cut to {limit:,}: with all {order.count:,} "
            f"candidates dropped it still has {len(best):,}; take fewer bits, a stronger compressor or a smaller model"
        )
    while high - low > max(1, order.count // _RESOLUTION):
        middle = (low + high) // 2
        blob = packed(order.without(middle))
        if len(blob) <= limit:
            high, best = middle, blob
        else:
            low = middle
    print(f"pruning: {high:,} of {order.count:,} candidates dropped, {unpruned:,} -> {len(best):,} bytes", flush=True)
    return best

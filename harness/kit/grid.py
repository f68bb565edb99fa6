"""Where the grid of each row ends, and rounding onto it.

A row w gets the step s = fp16(c / limit), limit = 2^(bits-1) - 1, and becomes round(w / s) cut to -limit..limit. c is

    quantile    quantile(|w|, p), at least `min_range` (the contest's baseline)
    search      the same at several p; kept is the p that gives the whole tensor the least squared error (#414)
    sd          k * std(w) (SDClip, #1394)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from harness.kit.config import QuantizeConfig

#: A grid step below the smallest normal float16 would lose precision itself.
_SMALLEST_SCALE = float(np.finfo(np.float16).smallest_normal)

Rounder = Callable[[Tensor], Tensor]


def limit_of(bits: int) -> int:
    """The largest value on a grid of that many bits: 127, 63, 31, 15, ..."""
    return (1 << (bits - 1)) - 1


def to_nearest(matrix: Tensor, scale: Tensor, limit: int) -> Tensor:
    """Round each weight to its nearest grid point: float32 [R, C] and float16 [R] to int8 [R, C]."""
    return (matrix / scale.float()[:, None]).round().clamp(-limit, limit).to(torch.int8)


def fit(matrix: Tensor, cfg: QuantizeConfig, rounder: Rounder, moments: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Find the rows' steps as `cfg.clip` says, and round.

    Args:
        matrix: float32 [R, C], finite.
        cfg: the settings for this tensor.
        rounder: from steps, float16 [R], to the grid, int8 [R, C].
        moments: float [C], diagonal of the Hessian, for `cfg.hessian_clip`; None without one.

    Returns:
        int8 [R, C] and float16 [R].
    """
    limit = limit_of(cfg.bits)
    if cfg.clip == "sd":
        ends = [cfg.sd_clip * matrix.std(dim=1)] if matrix.size(1) > 1 else [matrix.abs().amax(dim=1)]
    else:
        quantiles = cfg.clip_candidates if cfg.clip == "search" else (cfg.clip_quantile,)
        # numpy: torch.quantile refuses more than 2^24 elements
        found = [np.quantile(matrix.abs().numpy(), quantile, axis=1).astype(np.float32) for quantile in quantiles]
        ends = [torch.from_numpy(end).clamp_min(cfg.min_range) for end in found]
    if cfg.hessian_clip and moments is not None:
        ends = [end * _by_salience(matrix, moments, cfg.hessian_clip) for end in ends]
    scales = [(end / limit).clamp_min(_SMALLEST_SCALE).half() for end in ends]
    if len(scales) == 1:
        return rounder(scales[0]), scales[0]
    best: tuple[float, Tensor, Tensor] | None = None
    for scale in scales:
        grid = rounder(scale)
        error = float((grid.double() * scale.double()[:, None] - matrix.double()).square().mean())
        if best is None or error < best[0]:
            best = error, grid, scale
    assert best is not None
    return best[1:]


def _by_salience(matrix: Tensor, moments: Tensor, strength: float) -> Tensor:
    """1 + lambda * (r - 1) for each row, float32 [R]: rows that matter more get wider grids."""
    weight = (matrix.abs().double() * moments.double()).mean(dim=1)
    mean = weight.mean()
    ratio = weight / mean if float(mean) > 0 else torch.ones_like(weight)
    return (1 + strength * (ratio - 1)).clamp_min(0.05).float()

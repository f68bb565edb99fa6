"""Weights to small integers and back, one symmetric grid per row of a matrix.

This is the contest's baseline for 8 bits and its successors (#414 and later) for 6. For a row w of a large matrix:
clip = quantile(|w|), scale = fp16(max(clip, min_range) / limit), q = round(w / scale) cut to -limit..limit, with limit
127 or 31. Unlike the baseline the rounding uses the scale as stored, so that |w - q*scale| <= scale/2 holds for every
weight that is not clipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.kit.config import QuantizeConfig, is_control

#: Ends the name of the tensor that holds a quantized tensor's scales.
SCALE = "::scale"

#: A grid step below the smallest normal float16 would lose precision itself.
_SMALLEST_SCALE = float(np.finfo(np.float16).smallest_normal)
_LARGEST_SCALE = float(np.finfo(np.float16).max)

Meta = dict[str, Any]


def quantize(state: Mapping[str, Tensor], cfg: QuantizeConfig) -> tuple[dict[str, Tensor], Meta]:
    """Quantize a model's state.

    * float matrices of more than `cfg.keep_below` elements: int8 [rows, columns] plus float16 scales [rows];
    * other float tensors: float16, or float32 for control tensors (`config.CONTROL_PATTERNS`);
    * everything else: as it is.

    Returns:
        the payload (contiguous CPU tensors by name, scales under `name::scale`) and meta
        {"bits": {name: 8 or 6 for each quantized tensor}}, which is plain JSON.

    Raises:
        ValueError: a tensor holds NaN or infinity, is too large for its format, or has a reserved name.
    """
    payload: dict[str, Tensor] = {}
    bits: dict[str, int] = {}
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        if name.endswith(SCALE):
            raise ValueError(f"quantize: a tensor must not be called {name!r}: {SCALE!r} is reserved")
        if not tensor.is_floating_point():
            payload[name] = tensor.clone()
            continue
        tensor = tensor.float()
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"quantize: tensor {name!r} holds NaN or infinity")
        if tensor.ndim == 2 and tensor.numel() > cfg.keep_below and not is_control(name):
            payload[name], payload[name + SCALE] = quantize_rows(tensor, cfg)
            bits[name] = cfg.bits
        elif is_control(name):
            payload[name] = tensor.clone()
        else:
            payload[name] = tensor.half()
        if not all(bool(payload[key].isfinite().all()) for key in (name, name + SCALE) if key in payload):
            raise ValueError(f"quantize: tensor {name!r} has values too large for float16")
    return payload, {"bits": bits}


def quantize_rows(matrix: Tensor, cfg: QuantizeConfig) -> tuple[Tensor, Tensor]:
    """Quantize each row on its own grid.

    Args:
        matrix: float32 [rows, columns], finite.
        cfg: bits, clip_quantile and min_range.

    Returns:
        int8 [rows, columns] in -limit..limit and float16 [rows], the grid steps.
    """
    limit = _limit(cfg.bits)
    # numpy: torch.quantile refuses more than 2^24 elements
    clip = torch.from_numpy(np.quantile(matrix.abs().numpy(), cfg.clip_quantile, axis=1).astype(np.float32))
    scale = (clip.clamp_min(cfg.min_range) / limit).clamp_min(_SMALLEST_SCALE).half()
    grid = (matrix / scale.float()[:, None]).round().clamp(-limit, limit)
    return grid.to(torch.int8), scale


def dequantize(payload: Mapping[str, Tensor], meta: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state that `quantize` approximated: floats as float32, everything else as stored.

    Raises:
        ValueError: meta names a tensor that the payload does not hold in the form that `quantize` gives it.
    """
    bits = meta.get("bits")
    if not isinstance(bits, Mapping):
        raise ValueError('dequantize: meta has no "bits" table')
    scales = {name + SCALE for name in bits}
    for name in bits:
        grid, scale = payload.get(name), payload.get(name + SCALE)
        if grid is None or scale is None or grid.ndim != 2 or grid.dtype != torch.int8 or scale.shape != grid.shape[:1]:
            raise ValueError(f"dequantize: tensor {name!r} is not an int8 matrix with a scale per row")
    state: dict[str, Tensor] = {}
    for name, tensor in payload.items():
        if name in bits:
            state[name] = tensor.float() * payload[name + SCALE].float()[:, None]
        elif name not in scales:
            state[name] = tensor.float() if tensor.is_floating_point() else tensor.clone()
    return state


def _limit(bits: int) -> int:
    return (1 << (bits - 1)) - 1

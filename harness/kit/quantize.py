"""Weights to small integers and back, one symmetric grid per row of a matrix.

The defaults are the contest's baseline: for a row w of a large matrix clip = quantile(|w|), scale =
fp16(max(clip, min_range) / 127), q = round(w / scale) cut to -127..127. `QuantizeConfig` has its successors: narrower
grids, other clips (`grid`), GPTQ (`gptq`), a rotation before it (`hadamard`), and other settings by name. Unlike the
baseline the rounding uses the scale as stored, so that |w - q*scale| <= scale/2 holds for every weight that is rounded
to nearest and not clipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from harness.kit.config import QuantizeConfig, is_control
from harness.kit.config.quantize import FLOAT_BITS
from harness.kit.gptq import Gptq
from harness.kit.grid import fit, limit_of, to_nearest
from harness.kit.hadamard import fitting_block, rotate, rotate_hessian

#: Ends the name of the tensor that holds a quantized tensor's scales.
SCALE = "::scale"

Meta = dict[str, Any]


def quantize(
    state: Mapping[str, Tensor], cfg: QuantizeConfig, hessians: Mapping[str, Tensor] | None = None
) -> tuple[dict[str, Tensor], Meta]:
    """Quantize a model's state.

    * float matrices of more than `cfg.keep_below` elements: int8 [rows, columns] plus float16 scales [rows];
    * other float tensors: float16, or float32 for control tensors (`config.CONTROL_PATTERNS`);
    * everything else: as it is.

    Args:
        state: tensors by name.
        cfg: the settings.
        hessians: float [columns, columns] by name, of the inputs of the layers (`calibration`). Matrices without one
            are rounded to nearest: an embedding that is only looked up has a diagonal Hessian, for which GPTQ is that.

    Returns:
        the payload (contiguous CPU tensors by name, scales under `name::scale`) and meta, which is plain JSON:
        {"bits": {name: width of the grid, for each quantized tensor}} and, where a tensor is rotated,
        {"hadamard": {name: block}}.

    Raises:
        ValueError: a tensor holds NaN or infinity, is too large for its format, or has a reserved name; GPTQ without
            any Hessian, or with one that cannot be used.
    """
    if cfg.needs_calibration and not hessians:
        raise ValueError("quantize: GPTQ and hessian_clip need Hessians of the layers' inputs; collect them first")
    payload: dict[str, Tensor] = {}
    bits: dict[str, int] = {}
    rotated: dict[str, int] = {}
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
        how = cfg.resolve(name)
        large = tensor.ndim == 2 and tensor.numel() > cfg.keep_below and not is_control(name)
        if large and how.bits != FLOAT_BITS:
            block = fitting_block(tensor.size(1), how.hadamard) if how.hadamard else 1
            try:
                payload[name], payload[name + SCALE] = _quantized(tensor, how, block, (hessians or {}).get(name))
            except ValueError as error:
                raise ValueError(f"quantize: tensor {name!r}: {error}") from None
            bits[name] = how.bits
            if block > 1:
                rotated[name] = block
        elif is_control(name):
            payload[name] = tensor.clone()
        else:
            payload[name] = tensor.half()
        if not all(bool(payload[key].isfinite().all()) for key in (name, name + SCALE) if key in payload):
            raise ValueError(f"quantize: tensor {name!r} has values too large for float16")
    meta: Meta = {"bits": bits}
    return payload, meta | {"hadamard": rotated} if rotated else meta


def _quantized(matrix: Tensor, how: QuantizeConfig, block: int, hessian: Tensor | None) -> tuple[Tensor, Tensor]:
    hessian = None if hessian is None else hessian.detach().cpu().double()
    if block > 1:
        matrix = rotate(matrix, block)
        hessian = None if hessian is None else rotate_hessian(hessian, block)
    limit = limit_of(how.bits)

    @cache
    def ready() -> Gptq:  # once for all the grids that are tried
        assert hessian is not None
        return Gptq(matrix, hessian, damping=how.damping, block=how.block_columns, act_order=how.act_order)

    def rounded(scale: Tensor) -> Tensor:
        if hessian is None or not how.gptq or not bool(scale.isfinite().all()):
            return to_nearest(matrix, scale, limit)
        return ready().round(scale, limit)

    return fit(matrix, how, rounded, None if hessian is None else hessian.diagonal())


def dequantize(payload: Mapping[str, Tensor], meta: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state that `quantize` approximated: floats as float32, everything else as stored.

    Raises:
        ValueError: meta names a tensor that the payload does not hold in the form that `quantize` gives it, or asks
            for something that this version does not know.
    """
    bits, rotated = meta.get("bits"), meta.get("hadamard", {})
    if not isinstance(bits, Mapping):
        raise ValueError('dequantize: meta has no "bits" table')
    if unknown := sorted(set(meta) - {"bits", "hadamard"}):
        raise ValueError(f"dequantize: meta has {unknown[0]!r}, which this version does not know")
    if not isinstance(rotated, Mapping) or not rotated.keys() <= bits.keys():
        raise ValueError('dequantize: the "hadamard" table must name quantized tensors')
    scales = {name + SCALE for name in bits}
    for name in bits:
        grid, scale = payload.get(name), payload.get(name + SCALE)
        if grid is None or scale is None or grid.ndim != 2 or grid.dtype != torch.int8 or scale.shape != grid.shape[:1]:
            raise ValueError(f"dequantize: tensor {name!r} is not an int8 matrix with a scale per row")
    state: dict[str, Tensor] = {}
    for name, tensor in payload.items():
        if name in bits:
            state[name] = tensor.float() * payload[name + SCALE].float()[:, None]
            if name in rotated:
                if type(rotated[name]) is not int:
                    raise ValueError(f"dequantize: the rotation of {name!r} is no number")
                state[name] = rotate(state[name], rotated[name])
        elif name not in scales:
            state[name] = tensor.float() if tensor.is_floating_point() else tensor.clone()
    return state

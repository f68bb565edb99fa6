"""One matrix, quantized as a whole state is."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from harness.kit.config import QuantizeConfig
from harness.kit.quantize import SCALE, quantize


def quantize_rows(matrix: Tensor, cfg: QuantizeConfig) -> tuple[Tensor, Tensor]:
    """int8 [rows, columns] and float16 [rows], the grid steps; a small matrix is quantized, too."""
    payload, _ = quantize({"block.weight": matrix}, replace(cfg, keep_below=0))
    return payload["block.weight"], payload["block.weight" + SCALE]

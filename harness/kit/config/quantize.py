"""How the shared quantizer stores weights. The defaults are the contest's baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Compressor = Literal["zlib", "brotli", "lzma", "none"]


@dataclass(frozen=True)
class QuantizeConfig:
    """How the shared quantizer stores the weights.

    Attributes:
        bits: 8 (grid -127..127) or 6 (grid -31..31, stored in a byte: the compressor removes the slack).
        compressor: byte compressor of the artifact.
        level: its level; None means the strongest.
        clip_quantile: quantile of a row's magnitudes that the grid ends at.
        keep_below: tensors of at most this many elements are stored as floats.
        min_range: the grid of a row never covers less than +-min_range; the contest's baseline has 1.
    """

    bits: Literal[6, 8] = 8
    compressor: Compressor = "zlib"
    level: int | None = None
    clip_quantile: float = 0.9999984
    keep_below: int = 65_536
    min_range: float = 1.0

    def __post_init__(self) -> None:
        """Reject settings without meaning (ValueError)."""
        if self.bits not in (6, 8):
            raise ValueError(f"QuantizeConfig: bits must be 6 or 8, not {self.bits}")
        if self.compressor not in ("zlib", "brotli", "lzma", "none"):
            raise ValueError(f"QuantizeConfig: unknown compressor {self.compressor!r}")
        if not 0 < self.clip_quantile <= 1:
            raise ValueError(f"QuantizeConfig: clip_quantile must be in (0, 1], not {self.clip_quantile}")
        if self.keep_below < 0 or self.min_range < 0:
            raise ValueError("QuantizeConfig: keep_below and min_range must not be negative")

"""How the shared quantizer stores weights. The defaults are the contest's baseline."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, get_args

Compressor = Literal["zlib", "brotli", "lzma", "none", "zstd", "range"]
Clip = Literal["quantile", "search", "sd"]
Source = Literal["train", "self", "random", "validation"]

#: Stored as float16 instead of on a grid.
FLOAT_BITS = 16


@dataclass(frozen=True)
class Calibration:
    """Where the inputs come from whose second moments GPTQ needs.

    Attributes:
        source: "train": training text, from the start of the shards; "self": text that the model draws itself (#1019);
            "random": uniform token ids; "validation": the scored text, which training is given only where
            submission.json declares `"reads_validation": true` (#1318; the audit then trains again with other text).
        inside_clock: whether the pass is part of the timed training loop (between the marks LOOP_START and LOOP_END,
            before `after_training`), as #535 and #1060 have it, or comes after it (#1229). A pass inside needs its
            seconds reserved in `TrainConfig.seconds`.
        sequences: number of sequences.
        length: tokens of each.
        batch: sequences in one forward pass.
        temperature: of the drawing from the model's own distribution.
        seed: of everything that is drawn.
    """

    source: Source = "train"
    inside_clock: bool = True
    sequences: int = 64
    length: int = 1024
    batch: int = 8
    temperature: float = 0.8
    seed: int = 42

    def __post_init__(self) -> None:
        """Reject settings without meaning (ValueError)."""
        if self.source not in get_args(Source):
            raise ValueError(f"Calibration: unknown source {self.source!r}; known are {', '.join(get_args(Source))}")
        if min(self.sequences, self.length, self.batch) < 1 or self.temperature <= 0:
            raise ValueError("Calibration: sequences, length and batch must be at least 1, temperature above 0")


@dataclass(frozen=True)
class Override:
    """Other settings for the tensors whose names match a pattern; None leaves a setting as it is.

    Attributes:
        pattern: shell-style, against the whole name: "*.mlp.*", "embedding.weight". Case matters.
        bits: as in QuantizeConfig, or 16 for float16.
        clip: as in QuantizeConfig; so are the others.
        clip_quantile: see there.
        sd_clip: see there.
        gptq: see there.
        hadamard: see there.
    """

    pattern: str
    bits: int | None = None
    clip: Clip | None = None
    clip_quantile: float | None = None
    sd_clip: float | None = None
    gptq: bool | None = None
    hadamard: int | None = None


@dataclass(frozen=True)
class QuantizeConfig:
    """How the shared quantizer stores the weights.

    Attributes:
        bits: width of the grid, 2 to 8: -(2^(bits-1) - 1) .. 2^(bits-1) - 1, always stored in a byte (the compressor
            removes the slack). The contest has 8, 7 (#1586), 6 (#414) and 5 (#180).
        compressor: of the artifact; "range" is an entropy coder for the grids (`range_code`).
        level: its level; None means the strongest.
        clip_quantile: quantile of a row's magnitudes that the grid ends at.
        keep_below: tensors of at most this many elements are stored as floats.
        min_range: the grid of a row never covers less than +-min_range; the contest's baseline has 1. "sd" ignores it.
        clip: where a row's grid ends: "quantile" (`clip_quantile`); "search": at that of `clip_candidates` which
            gives the tensor the least squared error (#414); "sd": at `sd_clip` standard deviations (#1394).
        clip_candidates: quantiles that "search" tries.
        sd_clip: k of "sd": step = k * std(row) / limit.
        hessian_clip: lambda of the Hessian-aware steps (record of 04-06): a row's step is multiplied by
            1 + lambda * (r - 1), r = its mean |w_j| H_jj over that of all rows. Needs a Hessian; 0 is off.
        gptq: round with error feedback (`gptq`) where a Hessian of the layer's inputs was collected, else to nearest.
        damping: of the Hessian's diagonal, as a fraction of its mean.
        block_columns: columns that GPTQ updates together; changes the speed, not the result.
        act_order: GPTQ goes through the columns by falling diagonal of the Hessian.
        calibration: where GPTQ's Hessians come from.
        hadamard: block of the rotation of columns before the grid, undone on loading (#1400): a power of two, cut down
            to one that divides the columns; 0 is off.
        overrides: other settings by name; the first pattern that matches counts.
        byte_shuffle: stride that the payload's bytes are regrouped by before a byte compressor sees them (the contest
            has 2); 0 is off.
        prune_to: most bytes that the artifact may have: values of the grids are set to zero, least error first, until
            it fits (#609, #1019); 0 is off.
        prune_values: largest magnitude on the grid that may be dropped: 1, or 2 as in #1400.
    """

    bits: int = 8
    compressor: Compressor = "zlib"
    level: int | None = None
    clip_quantile: float = 0.9999984
    keep_below: int = 65_536
    min_range: float = 1.0
    clip: Clip = "quantile"
    clip_candidates: tuple[float, ...] = (0.999, 0.9995, 0.9999, 0.99999, 1.0)
    sd_clip: float = 12.85
    hessian_clip: float = 0.0
    gptq: bool = False
    damping: float = 0.01
    block_columns: int = 128
    act_order: bool = True
    calibration: Calibration = field(default_factory=Calibration)
    hadamard: int = 0
    overrides: tuple[Override, ...] = ()
    byte_shuffle: int = 0
    prune_to: int = 0
    prune_values: int = 1

    def __post_init__(self) -> None:
        """Reject settings without meaning (ValueError)."""
        if not (2 <= self.bits <= 8 or self.bits == FLOAT_BITS):
            raise ValueError(f"QuantizeConfig: bits must be 2 to 8, or {FLOAT_BITS} for float16, not {self.bits}")
        if self.compressor not in get_args(Compressor):
            raise ValueError(f"QuantizeConfig: unknown compressor {self.compressor!r}")
        if self.clip not in get_args(Clip):
            raise ValueError(f"QuantizeConfig: unknown clip {self.clip!r}; known are {', '.join(get_args(Clip))}")
        for quantile in (self.clip_quantile, *self.clip_candidates):
            if not 0 < quantile <= 1:
                raise ValueError(f"QuantizeConfig: clip_quantile must be in (0, 1], not {quantile}")
        if not self.clip_candidates or self.sd_clip <= 0 or self.hessian_clip < 0:
            raise ValueError(
                "QuantizeConfig: clip_candidates must not be empty, sd_clip positive, hessian_clip not < 0"
            )
        if self.keep_below < 0 or self.min_range < 0 or self.prune_to < 0:
            raise ValueError("QuantizeConfig: keep_below, min_range and prune_to must not be negative")
        if self.damping < 0 or self.block_columns < 1:
            raise ValueError("QuantizeConfig: damping must not be negative, block_columns at least 1")
        if self.hadamard and (self.hadamard < 2 or self.hadamard & (self.hadamard - 1)):
            raise ValueError(f"QuantizeConfig: hadamard must be 0 or a power of two, not {self.hadamard}")
        if self.byte_shuffle not in (0, *range(2, 256)) or (self.byte_shuffle and self.compressor == "range"):
            raise ValueError("QuantizeConfig: byte_shuffle must be 0 or 2 to 255, and 0 for the range coder")
        if self.prune_values not in (1, 2):
            raise ValueError(f"QuantizeConfig: prune_values must be 1 or 2, not {self.prune_values}")
        for override in self.overrides:
            _applied(self, override)

    def resolve(self, name: str) -> QuantizeConfig:
        """The settings for one tensor: those of the first override whose pattern matches its name, else these."""
        for override in self.overrides:
            if fnmatchcase(name, override.pattern):
                return _applied(self, override)
        return self

    @property
    def needs_calibration(self) -> bool:
        """Whether any tensor is quantized with a Hessian."""
        return self.gptq or self.hessian_clip > 0 or any(override.gptq for override in self.overrides)


def _applied(how: QuantizeConfig, override: Override) -> QuantizeConfig:
    given = {
        name.name: getattr(override, name.name)
        for name in dataclasses.fields(override)
        if name.name != "pattern" and getattr(override, name.name) is not None
    }
    return dataclasses.replace(how, overrides=(), **given)

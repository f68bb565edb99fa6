"""Training and quantization of real submissions at full size, and small versions of all of it.

Numbers are those of the sources' scripts and commands. What the sources switch on and never use is left out: the SWA of
#1019, #1229 and #1306 is collected and thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from harness.kit.config.model import ModelConfig
from harness.kit.config.quantize import Calibration, Override, QuantizeConfig
from harness.kit.config.scales import smoke_model, smoke_train
from harness.kit.config.sources import pr1019_model, pr1229_model, pr1306_model, pr1334_model, pr1350_model
from harness.kit.config.train import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """A whole submission but for its evaluation, at full size.

    Attributes:
        model: the shape for a vocabulary of so many tokens.
        train: how it is trained.
        quantize: how it is stored.
    """

    model: Callable[[int], ModelConfig]
    train: TrainConfig
    quantize: QuantizeConfig

    def small(self) -> Recipe:
        """The same parts and methods at smoke scale."""
        return Recipe(
            lambda vocab_size: small_model(self.model(vocab_size)),
            small_train(self.train),
            small_quantize(self.quantize),
        )


#: The embedding of all of them: int8, to nearest.
_EMBEDDING = Override("embedding.weight", bits=8, clip="quantile", gptq=False)


def pr1019_train() -> TrainConfig:
    """PR #1019 (and #1229, #1306, #1350): Muon and AdamW with decay, clipped, EMA, warm-down over 3,500 steps."""
    return TrainConfig(
        batch_tokens=786_432,
        sequence_length=2048,
        warmdown=3500.0,
        muon_lr=0.025,
        muon_momentum=0.99,
        muon_momentum_start=0.92,
        muon_momentum_steps=1500,
        embed_lr=0.035,
        scalar_lr=0.025,
        muon_decay=0.04,
        embed_decay=0.04,
        scalar_decay=0.04,
        grad_clip=0.3,
        ema=0.997,
    )


def pr1334_train() -> TrainConfig:
    """PR #1334 (and #1333): MuonEq-R, the coprime loader, warm-down over two thirds, 10 s kept for calibration."""
    return replace(
        pr1019_train(),
        reserve_seconds=10.0,
        loader="coprime",
        warmdown=0.667,
        muon_lr=0.02,
        muon_row_normalize=True,
        embed_lr=0.03,
        scalar_lr=0.02,
        muon_decay=0.09,
        embed_decay=0.09,
        scalar_decay=0.02,
    )


def pr1019_quantize() -> QuantizeConfig:
    """PR #1019: int6 GPTQ with a search over clips, on 64 sequences that the model draws itself after its 600 s; LZMA.

    Values of +-1 are dropped until the artifact leaves room for the code.
    """
    return QuantizeConfig(
        bits=6,
        clip="search",
        gptq=True,
        calibration=Calibration(source="self", inside_clock=False, sequences=64, length=2048, batch=8),
        compressor="lzma",
        overrides=(_EMBEDDING,),
        prune_to=15_880_000,
    )


def pr1229_quantize() -> QuantizeConfig:
    """PR #1229 and #1306: that of #1019, but calibrated on training batches once the 600 s are over."""
    late = Calibration(source="train", inside_clock=False, sequences=256, length=2048, batch=8)
    return replace(pr1019_quantize(), calibration=late)


def pr1334_quantize() -> QuantizeConfig:
    """PR #1334 (and #1333): int6 GPTQ calibrated on training batches inside the clock, byte shuffle and brotli."""
    inside = Calibration(source="train", inside_clock=True, sequences=64, length=2048, batch=8)
    return replace(pr1019_quantize(), calibration=inside, compressor="brotli", byte_shuffle=2, prune_to=15_970_000)


def small_model(full: ModelConfig) -> ModelConfig:
    """The parts of a full-size model on three layers of the smoke model's width.

    The layers that a part sits on become their counterparts among three; tables and rotated dimensions shrink.
    """
    base = smoke_model(full.vocab_size)
    layers, width = 3, base.dim // base.heads
    return replace(
        full,
        layers=layers,
        dim=base.dim,
        heads=base.heads,
        kv_heads=base.kv_heads,
        rope_dims=min(full.rope_dims, width // 2 // 2 * 2),
        rope_train_length=min(full.rope_train_length, smoke_train().sequence_length),
        xsa_last=min(full.xsa_last, layers),
        bigram_buckets=min(full.bigram_buckets, 512),
        bigram_dim=min(full.bigram_dim, 32),
        ve_layers=(2,) if full.ve_layers else (),
        ve_dim=min(full.ve_dim, 32),
        recur_layers=(1,) if full.recur_layers else (),
        recur_from_step=min(full.recur_from_step, smoke_train().steps // 2),
        parallel_from=min(full.parallel_from, 2),
    )


def small_train(full: TrainConfig) -> TrainConfig:
    """The methods of a full-size recipe at the smoke recipe's rates and sizes."""
    return replace(
        smoke_train(),
        loader=full.loader,
        muon_row_normalize=full.muon_row_normalize,
        orthogonalizer=full.orthogonalizer,
        muon_decay=full.muon_decay,
        embed_decay=full.embed_decay,
        scalar_decay=full.scalar_decay,
        grad_clip=full.grad_clip,
        ema=0.97 if full.ema else 0.0,  # a thirtieth of a run of a thousand steps, not of one of ten thousand
    )


def small_quantize(full: QuantizeConfig) -> QuantizeConfig:
    """The methods of a full-size quantizer where tensors and texts are small; nothing is pruned to a limit."""
    few = replace(full.calibration, sequences=16, length=smoke_train().sequence_length)
    return replace(full, calibration=few, keep_below=4096, min_range=0.0, prune_to=0)


#: Pull requests by number. #1333 is #1334 with another evaluation.
PR1019 = Recipe(pr1019_model, pr1019_train(), pr1019_quantize())
PR1229 = Recipe(pr1229_model, pr1019_train(), pr1229_quantize())
PR1306 = Recipe(pr1306_model, pr1019_train(), pr1229_quantize())
PR1334 = Recipe(pr1334_model, pr1334_train(), pr1334_quantize())
PR1350 = Recipe(pr1350_model, pr1019_train(), pr1229_quantize())

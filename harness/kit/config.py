"""Settings of a submission as plain data: the model's shape, its training and its quantization.

The defaults are the contest's baseline. `record_*` gives the baseline at full size, `smoke_*` a small real language
model that two CPU cores train in about half a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Compressor = Literal["zlib", "brotli", "lzma", "none"]

#: Parts of the names of small, sensitive parameters: trained by AdamW (never Muon) and stored in float32.
CONTROL_PATTERNS = ("attn_scale", "mlp_scale", "resid_mix", "q_gain", "skip_weight")


def is_control(name: str) -> bool:
    """Whether a parameter's name marks it as a control tensor (see `CONTROL_PATTERNS`)."""
    return any(pattern in name for pattern in CONTROL_PATTERNS)


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the baseline GPT.

    Attributes:
        vocab_size: number of token ids.
        layers: number of blocks; the first half pushes U-net skips, the second half pops them.
        dim: width of the residual stream.
        heads: query heads; `dim / heads` is the head width and must be even.
        kv_heads: key/value heads, each shared by `heads / kv_heads` query heads.
        mlp_ratio: width of the MLP's hidden layer over `dim`.
        rope_base: base of the rotary frequencies.
        softcap: logits are `softcap * tanh(z / softcap)`.
        qk_gain: initial gain of every head's normalised queries.
        tied: whether the head uses the embedding's weight.
        emb_std: standard deviation of the initial embedding.
    """

    vocab_size: int = 1024
    layers: int = 9
    dim: int = 512
    heads: int = 8
    kv_heads: int = 4
    mlp_ratio: float = 2.0
    rope_base: float = 10_000.0
    softcap: float = 30.0
    qk_gain: float = 1.5
    tied: bool = True
    emb_std: float = 0.005

    def __post_init__(self) -> None:
        """Reject shapes that no model can have (ValueError)."""
        if min(self.vocab_size, self.layers, self.dim, self.heads, self.kv_heads) < 1:
            raise ValueError("ModelConfig: vocab_size, layers, dim, heads and kv_heads must be at least 1")
        if self.dim % (2 * self.heads):
            raise ValueError(f"ModelConfig: dim {self.dim} must be a multiple of twice heads ({self.heads})")
        if self.heads % self.kv_heads:
            raise ValueError(f"ModelConfig: heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        if self.softcap <= 0 or self.rope_base <= 1 or self.mlp_ratio <= 0:
            raise ValueError("ModelConfig: softcap and mlp_ratio must be positive, rope_base above 1")


@dataclass(frozen=True)
class TrainConfig:
    """How the shared trainer trains.

    Attributes:
        steps: most optimizer steps.
        batch_tokens: tokens a step, a multiple of `sequence_length`.
        sequence_length: tokens a sequence.
        seconds: wall-clock cap in seconds; training ends after the step that reaches it. 0 means no cap.
        warmup_steps: linear warm-up of every learning rate, in steps.
        warmdown: linear warm-down at the end of the run: up to 1 a fraction of the run, above 1 a number of steps.
        schedule: what the warm-down follows, "steps" (reproducible) or "clock" (as in the contest; needs a cap).
        min_lr: where the warm-down ends, as a fraction of the learning rate.
        muon_lr: learning rate of the blocks' matrices.
        muon_momentum: Nesterov momentum of Muon, reached linearly ...
        muon_momentum_start: ... from this value ...
        muon_momentum_steps: ... in this many steps.
        ns_steps: Newton-Schulz iterations.
        embed_lr: AdamW learning rate of embeddings.
        head_lr: AdamW learning rate of an untied head.
        scalar_lr: AdamW learning rate of everything else.
        beta1: AdamW's first beta.
        beta2: AdamW's second beta.
        eps: AdamW's epsilon.
        muon_decay: decoupled weight decay of the matrices.
        embed_decay: decoupled weight decay of embeddings and head.
        scalar_decay: decoupled weight decay of everything else.
        grad_clip: largest global gradient norm; 0 turns clipping off.
        ema: decay of the weights' moving average, which replaces the weights at the end; 0 turns it off.
        log_every: seconds between notifications.
    """

    steps: int = 20_000
    batch_tokens: int = 524_288
    sequence_length: int = 1024
    seconds: float = 600.0
    warmup_steps: int = 0
    warmdown: float = 1200.0
    schedule: Literal["steps", "clock"] = "clock"
    min_lr: float = 0.0
    muon_lr: float = 0.04
    muon_momentum: float = 0.95
    muon_momentum_start: float = 0.85
    muon_momentum_steps: int = 500
    ns_steps: int = 5
    embed_lr: float = 0.05
    head_lr: float = 0.008
    scalar_lr: float = 0.04
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    muon_decay: float = 0.0
    embed_decay: float = 0.0
    scalar_decay: float = 0.0
    grad_clip: float = 0.0
    ema: float = 0.0
    log_every: float = 1.0

    def __post_init__(self) -> None:
        """Reject runs that cannot be run (ValueError)."""
        if self.steps < 1 or self.sequence_length < 1 or self.batch_tokens < 1:
            raise ValueError("TrainConfig: steps, batch_tokens and sequence_length must be at least 1")
        if self.batch_tokens % self.sequence_length:
            raise ValueError(
                f"TrainConfig: batch_tokens {self.batch_tokens} must be a multiple of sequence_length "
                f"{self.sequence_length}"
            )
        if self.schedule not in ("steps", "clock"):
            raise ValueError(f'TrainConfig: schedule must be "steps" or "clock", not {self.schedule!r}')
        if self.schedule == "clock" and self.seconds <= 0:
            raise ValueError('TrainConfig: schedule "clock" needs seconds above 0')
        if self.seconds < 0 or self.warmdown < 0 or self.warmup_steps < 0:
            raise ValueError("TrainConfig: seconds, warmdown and warmup_steps must not be negative")
        if not 0 <= self.ema < 1:
            raise ValueError(f"TrainConfig: ema must be in [0, 1), not {self.ema}")


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


def record_model(vocab_size: int = 1024) -> ModelConfig:
    """The contest's baseline model."""
    return ModelConfig(vocab_size=vocab_size)


def record_train() -> TrainConfig:
    """The contest's baseline training: 600 s by the clock."""
    return TrainConfig()


def smoke_model(vocab_size: int = 1024) -> ModelConfig:
    """A small model: 228,196 parameters at 1,024 tokens, few enough for half a minute of training to pay."""
    return ModelConfig(vocab_size=vocab_size, layers=2, dim=96, heads=2, kv_heads=1)


def smoke_train() -> TrainConfig:
    """About half a minute on two idle CPU cores, bound by steps so that the artifact is reproducible."""
    return TrainConfig(
        steps=1050,
        batch_tokens=1024,
        sequence_length=256,
        seconds=0.0,
        warmdown=0.5,
        schedule="steps",
        muon_lr=0.02,
        muon_momentum=0.9,
        embed_lr=0.015,
    )


def smoke_quantize() -> QuantizeConfig:
    """8 bits per weight; the threshold is lower because most tensors of the smoke model are small."""
    return QuantizeConfig(bits=8, compressor="brotli", keep_below=4096, min_range=0.0)

"""The two scales: `record_*` is the baseline at full size, `smoke_*` a small real language model.

Two CPU cores train the small one in about half a minute.
"""

from __future__ import annotations

from harness.kit.config.model import ModelConfig
from harness.kit.config.quantize import QuantizeConfig
from harness.kit.config.train import TrainConfig


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

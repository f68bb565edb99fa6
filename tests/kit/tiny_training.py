"""A tiny model and a tiny training, for the tests of the trainer and of what belongs to it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import nn

from harness.kit.config import ModelConfig, TrainConfig
from harness.kit.model import GPT
from harness.kit.trainer import train

TINY = ModelConfig(vocab_size=16, layers=2, dim=16, heads=2, kv_heads=1)
SHORT = TrainConfig(steps=4, batch_tokens=64, sequence_length=16, seconds=0.0, schedule="steps", warmdown=0.0)


def fresh(seed: int = 0) -> GPT:
    torch.manual_seed(seed)
    return GPT(TINY)


def changed(cfg: TrainConfig, **values: object) -> TrainConfig:
    return dataclasses.replace(cfg, **values)  # type: ignore[arg-type]


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([param.detach().flatten() for param in model.parameters()])


def after(shards: list[Path], cfg: TrainConfig, seed: int = 0) -> torch.Tensor:
    model = fresh()
    train(model, shards, cfg, seed=seed)
    return weights(model)

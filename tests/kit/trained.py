"""A small trained model and its data, for tests of what happens to weights after training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from harness.corpus.shards import write_shard
from harness.kit.config import ModelConfig, TrainConfig
from harness.kit.model import GPT
from harness.kit.submission import TrainData
from harness.kit.trainer import train

VOCABULARY, LENGTH = 128, 64


@dataclass(frozen=True)
class Trained:
    """A model, what it was trained on, and text that it has not seen."""

    model: GPT
    data: TrainData
    inputs: torch.Tensor
    targets: torch.Tensor


def markov(count: int, seed: int) -> np.ndarray:
    """A stream in which every token is followed by one of few: uint16 [count]."""
    table = np.random.default_rng(7).integers(0, VOCABULARY, (VOCABULARY, 3))
    draws = np.random.default_rng(seed).integers(0, 3, count)
    tokens = np.zeros(count, np.uint16)
    for index in range(1, count):
        tokens[index] = table[tokens[index - 1], draws[index]]
    return tokens


def make(home: Path) -> Trained:
    """Train for a few seconds."""
    shard = home / "fineweb_train_000000.bin"
    write_shard(shard, markov(40_000, 1))
    torch.manual_seed(3)
    model = GPT(ModelConfig(vocab_size=VOCABULARY, layers=2, dim=64, heads=2, kv_heads=1))
    how = TrainConfig(
        steps=120, batch_tokens=512, sequence_length=LENGTH, seconds=0.0, warmdown=0.5, schedule="steps", muon_lr=0.02
    )
    train(model, [shard], how, seed=3)
    held = torch.from_numpy(markov(8 * LENGTH + 1, 2).astype(np.int64))
    data = TrainData((shard,), VOCABULARY, 3)
    return Trained(model.eval(), data, held[:-1].view(8, LENGTH), held[1:].view(8, LENGTH))

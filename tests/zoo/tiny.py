"""What all animals of the zoo share: one tiny model, one artifact, and a few things that submissions do."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.kit import ModelConfig, QuantizeConfig, Stream, Submission, TrainConfig
from harness.kit.stream import Batch


class Tiny(Submission):
    smoke_window = 64
    stride = 16
    windows_per_batch = 8

    def model_config(self, vocab_size: int) -> ModelConfig:
        return ModelConfig(vocab_size=vocab_size, layers=2, dim=32, heads=2, kv_heads=1)

    def train_config(self) -> TrainConfig:
        return TrainConfig(steps=60, batch_tokens=512, sequence_length=64, seconds=0.0, schedule="steps", warmdown=0.5)

    def quantize_config(self) -> QuantizeConfig:
        return QuantizeConfig(bits=8, compressor="zlib", keep_below=1024, min_range=0.0)

    def batches(self, stream: Stream, size: int = 8) -> Iterator[Batch]:
        """Sliding windows of the contest's layout, `size` of them at a time."""
        return stream.windows(self.length, self.stride, size)


def nll(rows: Tensor, targets: Tensor) -> Tensor:
    """Loss of each target, [...], under log-probabilities [..., V]."""
    return -rows.gather(-1, targets[..., None])[..., 0]


def hinted(rows: Tensor, guess: Tensor, share: float | Tensor) -> Tensor:
    """Log-probabilities [n, V] of logits, with a share of the mass moved to one token each [n]."""
    return ((1 - share) * rows.softmax(-1) + share * F.one_hot(guess, rows.shape[-1])).log()


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor, mask: Tensor) -> None:
    """One optimizer step on the masked positions."""
    optimizer.zero_grad()
    F.cross_entropy(model(inputs)[mask], targets[mask]).backward()
    optimizer.step()


def count_pairs(counts: Tensor, tokens: Tensor) -> None:
    """Add the pairs of neighbouring tokens to counts [V, V]."""
    pairs = tokens[:-1] * len(counts) + tokens[1:]
    counts.view(-1).index_add_(0, pairs, torch.ones(len(pairs)))

"""SLOT's arithmetic once more: float64, numpy, gradients by hand. The kit's is held against it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from harness.kit.config import ModelConfig
from harness.kit.model import GPT
from harness.kit.slot import SlotConfig

VOCAB, DIM = 23, 16
NORM_EPS = float(np.finfo(np.float32).eps)  # torch's default in rms_norm


def random_model() -> GPT:
    """A model whose rows say something: all its weights are random, none is zero."""
    torch.manual_seed(3)
    gpt = GPT(ModelConfig(vocab_size=VOCAB, layers=2, dim=DIM, heads=2, kv_heads=1))
    for parameter in gpt.parameters():  # the residual projections start at zero: without this nothing would mix
        torch.nn.init.normal_(parameter, std=0.3)
    return gpt.requires_grad_(False)


def tokens(windows: int, length: int, seed: int = 5) -> tuple[Tensor, Tensor]:
    """Random inputs and targets, both [windows, length]."""
    ids = torch.randint(VOCAB, (windows, length + 1), generator=torch.Generator().manual_seed(seed))
    return ids[:, :-1], ids[:, 1:]


def softmax(z: np.ndarray) -> np.ndarray:
    raised = np.exp(z - z.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def error(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of each row's cross-entropy with respect to its logits, [n, V]."""
    out = softmax(z)
    out[np.arange(len(y)), y] -= 1
    return out


class Head:
    """The head c tanh((W h + b) / c), and what flows back through it."""

    def __init__(self, model: GPT) -> None:
        self.weight = model.head_weight.double().numpy()
        self.cap = model.cfg.softcap

    def back(self, h: np.ndarray, y: np.ndarray, bias: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Gradients of each row's cross-entropy: with respect to its hidden state [n, D] and to its bias [n, V]."""
        tanh = np.tanh((h @ self.weight.T + bias) / self.cap)
        z = error(self.cap * tanh, y) * (1 - tanh**2)
        return z @ self.weight, z

    def back_from_before_norm(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Gradient [n, D] with respect to hidden states before the final norm x / rms(x)."""
        rms = np.sqrt((x**2).mean(-1, keepdims=True) + NORM_EPS)
        n = x / rms
        g, _ = self.back(n, y)
        return (g - n * (g * n).mean(-1, keepdims=True)) / rms


def adamw(
    starts: list[np.ndarray], gradients: Callable[[list[np.ndarray]], list[np.ndarray]], config: SlotConfig
) -> list[np.ndarray]:
    """AdamW (Loshchilov and Hutter, 2019, algorithm 2), from given starts."""
    values = [start.astype(np.float64) for start in starts]
    first, second = [np.zeros_like(v) for v in values], [np.zeros_like(v) for v in values]
    b1, b2 = config.betas
    for step in range(config.steps):
        rate = config.rate(step)
        for i, g in enumerate(gradients(values)):
            first[i] = b1 * first[i] + (1 - b1) * g
            second[i] = b2 * second[i] + (1 - b2) * g**2
            direction = (first[i] / (1 - b1 ** (step + 1))) / (np.sqrt(second[i] / (1 - b2 ** (step + 1))) + config.eps)
            values[i] = values[i] - rate * config.weight_decay * values[i] - rate * direction
    return values

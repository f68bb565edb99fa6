"""SLOT: optimise a throw-away vector at evaluation time, with the model frozen (arXiv:2505.12392).

The field knows three forms, and they differ in one question only: which targets enter the loss that shapes the
vector, relative to the positions that the vector then scores.

* context only, one delta per window (`per_window_delta`): the loss sees positions that are scored already;
* context only, one delta per batch of overlapping windows (`shared_delta`, PR #1306 and #1333): the context of a
  later window contains the scored positions of an earlier one in the same batch;
* scored positions (`scored_delta`, PR #1229): the loss sees the very positions that it scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.kit.model import GPT


@dataclass(frozen=True)
class SlotConfig:
    """The optimiser of a SLOT vector.

    Attributes:
        steps: AdamW steps per vector.
        lr: learning rate, or the first one of a cosine schedule when `lr_end` is given.
        lr_end: last learning rate of the cosine schedule, None for a constant one.
        betas: AdamW's averaging factors ((0.3, 0.9) in #1306 and #1333).
        eps: AdamW's epsilon.
        weight_decay: AdamW's decoupled weight decay.
    """

    steps: int = 8
    lr: float = 0.005
    lr_end: float | None = None
    betas: tuple[float, float] = (0.3, 0.9)
    eps: float = 1e-5
    weight_decay: float = 1e-8

    def rate(self, step: int) -> float:
        """Learning rate of a step: constant, or lr_end + (lr - lr_end) (1 + cos(pi step / steps)) / 2."""
        if self.lr_end is None:
            return self.lr
        return self.lr_end + 0.5 * (self.lr - self.lr_end) * (1 + math.cos(math.pi * step / self.steps))


def context_delta(model: GPT, hidden: Tensor, targets: Tensor, config: SlotConfig) -> Tensor:
    """Fit one delta [D] to given positions and their targets, starting from zero.

    Args:
        model: only its head is used; its weights are not touched.
        hidden: float [n, D], hidden states after the final norm, without graph.
        targets: int64 [n].
        config: steps and rates.

    Returns:
        float [D]; zero when there is nothing to fit.
    """
    delta = torch.zeros(hidden.shape[-1], requires_grad=True)
    if targets.numel() == 0:
        return delta.detach()
    _descend([delta], lambda: F.cross_entropy(model.head(hidden + delta), targets), config)
    return delta.detach()


def scored_delta(
    model: GPT, hidden: Tensor, targets: Tensor, mask: Tensor, config: SlotConfig
) -> tuple[Tensor, Tensor]:
    """Fit a delta [B, 1, D] and a logit bias [B, 1, V] to each window's masked positions (PR #1229).

    Args:
        model: only its head is used.
        hidden: float [B, L, D] without graph.
        targets: int64 [B, L].
        mask: bool [B, L], the positions whose targets enter the loss: in #1229 the scored ones.
        config: steps and rates.

    Returns:
        The delta and the bias, the bias to be added before the soft-cap.
    """
    rows, window = hidden[mask], mask.nonzero()[:, 0]
    delta = torch.zeros(hidden.shape[0], hidden.shape[-1], requires_grad=True)
    bias = torch.zeros(hidden.shape[0], model.vocab_size, requires_grad=True)

    def loss() -> Tensor:
        return F.cross_entropy(biased_logits(model, rows + delta[window], bias[window]), targets[mask])

    _descend([delta, bias], loss, config)
    return delta.detach()[:, None], bias.detach()[:, None]


def biased_logits(model: GPT, hidden: Tensor, bias: Tensor) -> Tensor:
    """Logits [..., V] of hidden states [..., D] with a bias added before the soft-cap."""
    return model.softcap(model.pre_cap_logits(hidden) + bias)


def _descend(parameters: list[Tensor], loss: Callable[[], Tensor], config: SlotConfig) -> None:
    optimizer = torch.optim.AdamW(
        parameters, lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay
    )
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.rate(step)
        value = loss()
        gradients = torch.autograd.grad(value, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()

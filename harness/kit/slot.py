"""SLOT: optimise a throw-away vector at evaluation time, with the model frozen (arXiv:2505.12392).

The field's forms differ first of all in one question: which targets enter the loss that shapes the vector, relative to
the positions that the vector then scores.

* context only, one delta per window: the loss sees positions that are scored already;
* context only, one delta per batch of overlapping windows (PR #1306 and #1333): the context of a later window contains
  the scored positions of an earlier one in the same batch;
* scored positions (PR #1229 and #1319): the loss sees the very positions that it scores.

The first two are `context_delta`, the third is `scored_delta`; which positions a context holds is said in
`harness.kit.context`. Neighbours: `slot_lbfgs` (a delta on the logits), `slot_hash` (a table beside the delta), `etlb`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.kit.fused import rms_norm
from harness.kit.model import GPT


@dataclass(frozen=True)
class SlotConfig:
    """The optimiser of a SLOT vector, and where the vector goes in.

    Attributes:
        steps: AdamW steps per vector.
        lr: learning rate, or the first one of a cosine schedule when `lr_end` is given.
        lr_end: last learning rate of the cosine schedule, None for a constant one.
        betas: AdamW's averaging factors ((0.3, 0.9) in #1306 and #1333).
        eps: AdamW's epsilon.
        weight_decay: AdamW's decoupled weight decay.
        before_norm: the delta is added before the final norm (#1333), to what `GPT.body` returns; else after it
            (#1306), to what `GPT.hidden` returns.
        warm: what part of the previous vector the next one starts from: 0.85 in #1319, 1 in #1278, 0 for none.
    """

    steps: int = 8
    lr: float = 0.005
    lr_end: float | None = None
    betas: tuple[float, float] = (0.3, 0.9)
    eps: float = 1e-5
    weight_decay: float = 1e-8
    before_norm: bool = False
    warm: float = 0.0

    def rate(self, step: int) -> float:
        """Learning rate of a step: constant, or lr_end + (lr - lr_end) (1 + cos(pi step / steps)) / 2."""
        if self.lr_end is None:
            return self.lr
        return self.lr_end + 0.5 * (self.lr - self.lr_end) * (1 + math.cos(math.pi * step / self.steps))


def context_delta(
    model: GPT, hidden: Tensor, targets: Tensor, config: SlotConfig, previous: Tensor | None = None
) -> Tensor:
    """Fit one delta [D] to given positions and their targets (PR #1306; before the final norm: #1333).

    Args:
        model: only its head is used; its weights are not touched.
        hidden: float [n, D], hidden states before or after the final norm (`config.before_norm`), without graph.
        targets: int64 [n].
        config: steps, rates, and where the delta goes in.
        previous: the delta that a warm start begins from, [D].

    Returns:
        float [D]; where there is nothing to fit, the start.
    """
    delta = warm_start(hidden, (hidden.shape[-1],), previous, config.warm)
    if targets.numel():
        adamw_descent([delta], lambda: F.cross_entropy(shifted_logits(model, hidden, delta, config), targets), config)
    return delta.detach()


def scored_delta(
    model: GPT,
    hidden: Tensor,
    targets: Tensor,
    mask: Tensor,
    config: SlotConfig,
    previous: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Fit a delta [B, 1, D] and a logit bias [B, 1, V] to each window's masked positions (PR #1229).

    Args:
        model: only its head is used.
        hidden: float [B, L, D] after the final norm, without graph.
        targets: int64 [B, L].
        mask: bool [B, L], the positions whose targets enter the loss (a mean over all): in #1229 the scored ones.
        config: steps and rates.
        previous: delta and bias of the batch before; a warm start (`config.warm`, PR #1319) gives each window those of
            the window in its place there, and begins from zero where the batches differ in size.

    Returns:
        The delta and the bias, the bias to be added before the soft-cap.
    """
    rows, window = hidden[mask], mask.nonzero()[:, 0]
    windows, dim = hidden.shape[0], hidden.shape[-1]
    before = previous or (None, None)
    delta = warm_start(hidden, (windows, 1, dim), before[0], config.warm)
    bias = warm_start(hidden, (windows, 1, model.vocab_size), before[1], config.warm)

    def loss() -> Tensor:
        return F.cross_entropy(biased_logits(model, rows + delta[window, 0], bias[window, 0]), targets[mask])

    adamw_descent([delta, bias], loss, config)
    return delta.detach(), bias.detach()


def shifted_logits(model: GPT, hidden: Tensor, delta: Tensor, config: SlotConfig) -> Tensor:
    """Logits [..., V] of hidden states [..., D] plus a delta, before or after the final norm (`config.before_norm`)."""
    moved = hidden + delta
    return model.head(rms_norm(moved) if config.before_norm else moved)


def biased_logits(model: GPT, hidden: Tensor, bias: Tensor) -> Tensor:
    """Logits [..., V] of hidden states [..., D] (after the final norm) with a bias added before the soft-cap."""
    return model.softcap(model.pre_cap_logits(hidden) + bias)


def warm_start(like: Tensor, shape: tuple[int, ...], previous: Tensor | None, share: float) -> Tensor:
    """A vector to optimise, float32 on the device of `like`: a share of the previous one, or zero.

    Zero also where the previous one has another shape, as after the last full batch in #1319.
    """
    start = torch.zeros(shape, device=like.device)
    if previous is not None and previous.shape == start.shape:
        start += share * previous.detach()
    return start.requires_grad_()


def adamw_descent(parameters: list[Tensor], loss: Callable[[], Tensor], config: SlotConfig) -> None:
    """Move parameters in place: `config.steps` AdamW steps on a loss, rates by the schedule. No other is touched."""
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

"""ETLB, a logit bias fitted at evaluation time (PR #1399, #1415): plain gradient descent on the context's loss.

The bias [V] goes on top of the soft-capped logits and is carried from window to window. #1399 goes one window at a
time. #1415 fits one bias to a batch of 32 overlapping windows, and to the first window's own scored positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class EtlbConfig:
    """Gradient descent on a logit bias; the defaults are those of both pull requests.

    Attributes:
        steps: per window (#1399) or batch (#1415).
        lr: learning rate.
        clip: the bias is clamped to [-clip, clip].
        clip_each_step: after every step (#1415) instead of once, after the last (#1399).
    """

    steps: int = 5
    lr: float = 0.05
    clip: float = 3.0
    clip_each_step: bool = False


def logit_bias(logits: Tensor, targets: Tensor, bias: Tensor, config: EtlbConfig) -> Tensor:
    """Carry a bias on by a few steps on the mean loss of given positions.

    Args:
        logits: float [n, V], soft-capped, without graph.
        targets: int64 [n].
        bias: float [V], where the window or batch before left it.
        config: steps, rate, clamp.

    Returns:
        float [V]; the given one where there is nothing to fit.
    """
    if not targets.numel():
        return bias
    moved = bias.detach().clone().requires_grad_()
    optimizer = torch.optim.SGD([moved], lr=config.lr)
    for _ in range(config.steps):
        (moved.grad,) = torch.autograd.grad(F.cross_entropy(logits + moved, targets), [moved])
        optimizer.step()
        if config.clip_each_step:
            with torch.no_grad():
                moved.clamp_(-config.clip, config.clip)
    return moved.detach().clamp(-config.clip, config.clip)

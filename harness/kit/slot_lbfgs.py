"""SLOT on the logits, by L-BFGS (PR #1350, after #1318): a delta [V] behind the soft-cap.

The loss is convex in such a delta, so a quasi-Newton method with a line search all but solves it: 1,024 free biases for
the 64 targets that a window of #1350 fits (its positions [L-128, L-64)).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.kit.slot import warm_start


@dataclass(frozen=True)
class LbfgsConfig:
    """L-BFGS with strong-Wolfe line search; the defaults are those of #1350.

    Attributes:
        iterations: at most, per vector; loss evaluations are bounded by 5/4 of it.
        history: pairs of steps and gradients that are remembered.
        lr: length of the first trial step.
        tolerance_change: stop when the step or the loss changes by less.
        tolerance_grad: stop when no gradient is larger.
        clip: the delta is clamped to [-clip, clip], once, after the last step.
        warm: what part of the previous delta the next one starts from.
    """

    iterations: int = 25
    history: int = 20
    lr: float = 1.0
    tolerance_change: float = 1e-9
    tolerance_grad: float = 1e-7
    clip: float = 5.0
    warm: float = 1.0


def logit_delta(logits: Tensor, targets: Tensor, config: LbfgsConfig, previous: Tensor | None = None) -> Tensor:
    """Fit a delta [V] to the mean loss of given positions (PR #1350).

    Args:
        logits: float [n, V], soft-capped, without graph.
        targets: int64 [n].
        config: iterations, tolerances, clamp.
        previous: the delta of the window or batch before, [V].

    Returns:
        float [V], within the clamp; where there is nothing to fit, the start.
    """
    delta = warm_start(logits, (logits.shape[-1],), previous, config.warm)
    if not targets.numel():
        return delta.detach()
    optimizer = torch.optim.LBFGS(
        [delta],
        lr=config.lr,
        max_iter=config.iterations,
        history_size=config.history,
        tolerance_change=config.tolerance_change,
        tolerance_grad=config.tolerance_grad,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        loss = F.cross_entropy(logits + delta, targets)
        (delta.grad,) = torch.autograd.grad(loss, [delta])
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return delta.detach().clamp(-config.clip, config.clip)

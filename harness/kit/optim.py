"""Muon for the blocks' matrices, AdamW for everything else.

Muon (Keller Jordan, 2024, as used by the contest's baseline): Nesterov momentum whose matrix is replaced by an
approximation of its nearest semi-orthogonal matrix, found by a quintic Newton-Schulz iteration.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor, nn

from harness.kit.config import TrainConfig, is_control

#: Quintic coefficients that drive singular values to roughly [0.7, 1.2] in five iterations.
NEWTON_SCHULZ = (3.4445, -4.775, 2.0315)


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Push all singular values of each matrix towards 1 by Newton-Schulz iteration: X <- aX + (bA + cA^2)X, A = XX^T.

    Args:
        matrices: float [..., rows, columns]; a stack is one batched computation.
        steps: iterations.

    Returns:
        float [..., rows, columns] of the same dtype; computed in bfloat16 on CUDA and in float32 elsewhere.
    """
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrices.to(torch.bfloat16 if matrices.is_cuda else torch.float32)
    tall = x.size(-2) > x.size(-1)
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, Nesterov look-ahead, orthogonalization, decoupled weight decay.

    The step of a rows x columns matrix is scaled by sqrt(max(1, rows / columns)). Matrices of one shape are
    orthogonalized as one stack, which on a CPU is about twice as fast as one by one.

    Args:
        params: 2-D parameters, or groups of them.
        lr: learning rate.
        momentum: decay of the momentum buffer.
        ns_steps: Newton-Schulz iterations.
        weight_decay: the parameter shrinks by lr * weight_decay a step.

    Raises:
        ValueError: a parameter is not 2-D.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.04,
        momentum: float = 0.95,
        ns_steps: int = 5,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "ns_steps": ns_steps, "weight_decay": weight_decay}
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                if param.ndim != 2:
                    raise ValueError(f"Muon takes matrices only; got a parameter of shape {tuple(param.shape)}")

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient; returns the closure's loss, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for param in group["params"]:
                if param.grad is None:
                    continue
                state = self.state[param]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(param)
                buffer = state["momentum"].mul_(group["momentum"]).add_(param.grad)
                by_shape[param.shape].append((param, param.grad.add(buffer, alpha=group["momentum"])))
            for (rows, columns), pairs in by_shape.items():
                updates = orthogonalize(torch.stack([update for _, update in pairs]), group["ns_steps"])
                scale = max(1.0, rows / columns) ** 0.5
                for (param, _), update in zip(pairs, updates.unbind(), strict=True):
                    param.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)
        return loss


@dataclass(frozen=True)
class ParamGroups:
    """A model's trainable parameters by how they are trained; every parameter is in exactly one list."""

    matrices: list[nn.Parameter]
    embeddings: list[nn.Parameter]
    heads: list[nn.Parameter]
    scalars: list[nn.Parameter]


def param_groups(model: nn.Module) -> ParamGroups:
    """Split parameters as the contest's baseline does.

    Tables of `nn.Embedding` are embeddings; a module called `lm_head` is the head; other 2-D parameters are matrices
    unless their name is a control's (`config.CONTROL_PATTERNS`); what is left (gains, scales, mixes) are scalars.
    A weight shared between modules counts once, under the first name that `named_parameters` gives it.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    groups = ParamGroups([], [], [], [])
    for name, param in model.named_parameters():
        if not param.requires_grad:
            continue
        if id(param) in tables:
            groups.embeddings.append(param)
        elif "lm_head" in name.split("."):
            groups.heads.append(param)
        elif param.ndim == 2 and not is_control(name):
            groups.matrices.append(param)
        else:
            groups.scalars.append(param)
    return groups


def build_optimizers(model: nn.Module, cfg: TrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices (first, if there are any) and one AdamW for the rest; every group carries its "base_lr"."""
    groups = param_groups(model)
    optimizers: list[torch.optim.Optimizer] = []
    if groups.matrices:
        optimizers.append(Muon(groups.matrices, cfg.muon_lr, cfg.muon_momentum, cfg.ns_steps, cfg.muon_decay))
    adam = [
        {"params": params, "lr": lr, "weight_decay": decay}
        for params, lr, decay in (
            (groups.embeddings, cfg.embed_lr, cfg.embed_decay),
            (groups.heads, cfg.head_lr, cfg.embed_decay),
            (groups.scalars, cfg.scalar_lr, cfg.scalar_decay),
        )
        if params
    ]
    if adam:
        optimizers.append(torch.optim.AdamW(adam, betas=(cfg.beta1, cfg.beta2), eps=cfg.eps, fused=True))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
    return optimizers

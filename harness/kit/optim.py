"""Muon for the blocks' matrices, AdamW for everything else.

Muon (Keller Jordan, 2024, as used by the contest's baseline): Nesterov momentum whose matrix is replaced by an
approximation of its nearest semi-orthogonal matrix (`orthogonal`). MuonEq-R (arXiv:2603.28254, #1217) first divides the
rows by their norms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor, nn

from harness.kit.config import TrainConfig, is_control
from harness.kit.orthogonal import NEWTON_SCHULZ, POLAR_EXPRESS, Quintic, orthogonalize

#: Elements of a stack of matrices on a CPU, at most, where it is more than one matrix.
_STACKED = 1 << 17

_COEFFICIENTS = {"newton-schulz": NEWTON_SCHULZ, "polar-express": POLAR_EXPRESS}


def normalize_rows(matrices: Tensor) -> Tensor:
    """Divide each row by its L2 norm (MuonEq-R); float [..., rows, columns], rows of zeros stay so."""
    norms: Tensor = matrices.norm(dim=-1, keepdim=True)
    return matrices / norms.clamp_min(1e-7)


class Muon(torch.optim.Optimizer):
    """Momentum, Nesterov look-ahead, row normalization if asked for, orthogonalization, decoupled weight decay.

    The step of a rows x columns matrix is scaled by sqrt(max(1, rows / columns)). Matrices of one shape are
    orthogonalized as one stack. On a CPU that is up to twice as fast as one by one for small matrices, and slower for
    large ones, whose stacks no cache holds; these go one by one, with the same bits.

    Args:
        params: 2-D parameters, or groups of them.
        lr: learning rate.
        momentum: decay of the momentum buffer.
        ns_steps: iterations.
        weight_decay: the parameter shrinks by lr * weight_decay a step.
        row_normalize: divide each row of the update by its norm before it is orthogonalized (MuonEq-R).
        coefficients: of the iterations, see `orthogonalize`.
        dtype: what the iterations are computed in.

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
        row_normalize: bool = False,
        coefficients: Sequence[Quintic] = NEWTON_SCHULZ,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "ns_steps": ns_steps, "weight_decay": weight_decay}
        how = {"row_normalize": row_normalize, "coefficients": coefficients, "dtype": dtype}
        super().__init__(params, defaults | how)
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
            for pairs in _stacks(by_shape):
                rows, columns = pairs[0][0].shape
                stack = torch.stack([update for _, update in pairs])
                if group["row_normalize"]:
                    stack = normalize_rows(stack)
                updates = orthogonalize(stack, group["ns_steps"], group["coefficients"], group["dtype"])
                scale = max(1.0, rows / columns) ** 0.5
                for (param, _), update in zip(pairs, updates.unbind(), strict=True):
                    param.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)
        return loss


def _stacks(by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]]) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """What is orthogonalized together."""
    for pairs in by_shape.values():
        first = pairs[0][0]
        count = len(pairs) if first.is_cuda else max(1, _STACKED // first.numel())
        for start in range(0, len(pairs), count):
            yield pairs[start : start + count]


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
        muon = Muon(
            groups.matrices,
            cfg.muon_lr,
            cfg.muon_momentum,
            cfg.ns_steps,
            cfg.muon_decay,
            cfg.muon_row_normalize,
            _COEFFICIENTS[cfg.orthogonalizer],
            torch.bfloat16 if cfg.low_precision(groups.matrices[0].device.type) else torch.float32,
        )
        optimizers.append(muon)
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

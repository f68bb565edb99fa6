"""Elementwise functions whose gradients are written by hand, because on a CPU training is bound by memory traffic.

Torch takes these apart into single operations there and keeps what each of them needs. With a gradient in closed form
about half as many passes over the activations are left. The values are the plain forms' up to rounding, and second
derivatives and `torch.func` work as they do for those.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def rms_norm(x: Tensor) -> Tensor:
    """Divide the last axis by its root mean square, sqrt(mean x^2 + 1.2e-7), which is computed in float32 (no weight).

    Of float64 it is computed in float64, with that dtype's epsilon. Nothing has bfloat16's, which at 0.008 is more than
    the mean square of an embedding that starts small.

    Args:
        x: float [..., D].

    Returns:
        float [..., D], of x's dtype (float32 under autocast on a GPU).
    """
    if x.is_cuda:
        return F.rms_norm(x, (x.size(-1),), eps=torch.finfo(_wide(x)).eps)
    normed: Tensor = _RmsNorm.apply(x)[0]  # type: ignore[no-untyped-call]
    return normed


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)^2, the baseline's activation (arXiv:2109.08668); any shape."""
    squared: Tensor = _SquaredRelu.apply(x)  # type: ignore[no-untyped-call]
    return squared


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (x[i], x[i + n/2]) of the last axis clockwise: (a cos + b sin, b cos - a sin).

    The tables get no gradient.

    Args:
        x: float [..., n].
        cos: what broadcasts to [..., n/2], of x's dtype; `sin` likewise.
        sin: see cos.

    Returns:
        float [..., n].
    """
    turned: Tensor = _Turn.apply(x, torch.cat((cos, cos), -1), torch.cat((sin, -sin), -1))  # type: ignore[no-untyped-call]
    return turned


class _RmsNorm(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        scale = _scale(x)
        return x * scale.to(x.dtype), scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0], output[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative needs to know that the scale comes from x
            scale = _scale(x)
        # y = s x with s = (mean x^2 + eps)^(-1/2): dx = s g - x s^3 mean(g x)
        along = (grads[0] * x).sum(-1, keepdim=True) * (scale**3 / -x.size(-1))
        return torch.addcmul(grads[0] * scale.to(x.dtype), x, along.to(x.dtype))


def _scale(x: Tensor) -> Tensor:
    """The reciprocal root mean square: float [..., D] -> float32 [..., 1]; float64 of float64."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=_wide(x))
    return torch.rsqrt(norm.square() / x.size(-1) + torch.finfo(norm.dtype).eps)


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


class _SquaredRelu(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        positive = x.relu()
        return positive * positive

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gradient: Tensor = 2 * grads[0] * x.relu()
        return gradient


class _Turn(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        half = x.size(-1) // 2
        return torch.addcmul(x * cos, torch.cat((x[..., half:], x[..., :half]), -1), sin)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        back: Tensor = _Turn.apply(grads[0], cos, -sin)  # type: ignore[no-untyped-call]
        return back, None, None

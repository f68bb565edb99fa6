"""Causal attention with grouped key/value heads, and rotary position embedding.

Tensors are laid out [batch, length, heads, width] throughout, which is what linear layers make and flash-attn wants.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_flash: Callable[..., Tensor] | None = None
try:
    from flash_attn import flash_attn_func

    _flash = flash_attn_func
except ImportError:
    pass


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of every position over itself and the positions before it, scaled by 1/sqrt(width).

    Query head h reads key/value head h // (heads / kv_heads) (grouped-query attention, arXiv:2305.13245).

    Args:
        q: float [B, L, heads, width].
        k: float [B, L, kv_heads, width].
        v: float [B, L, kv_heads, width].

    Returns:
        float [B, L, heads, width].
    """
    if _flash is not None and q.is_cuda and v.dtype in (torch.bfloat16, torch.float16):
        # norms run in float32 under autocast, projections do not: v has the dtype that was meant
        return _flash(q.to(v.dtype), k.to(v.dtype), v, causal=True)
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        is_causal=True,
        enable_gqa=q.size(2) != k.size(2),
    )
    return out.transpose(1, 2)


def rotary_tables(length: int, width: int, base: float, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotation angles: position p, pair i turns by p * base^(-2i/width).

    Returns:
        two float32 tensors [length, 1, width / 2], ready to broadcast over heads.
    """
    frequency = base ** (-torch.arange(0, width, 2, dtype=torch.float32, device=device) / width)
    angle = torch.outer(torch.arange(length, dtype=torch.float32, device=device), frequency)[:, None, :]
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (x[i], x[i + width/2]) of every head by their position's angles (RoPE, arXiv:2104.09864).

    Args:
        x: float [B, L, heads, width].
        cos: float [L, 1, width / 2], from `rotary_tables`.
        sin: float [L, 1, width / 2].

    Returns:
        float [B, L, heads, width], of x's dtype.
    """
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos + second * sin, second * cos - first * sin), dim=-1)

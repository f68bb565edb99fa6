"""Causal attention with grouped key/value heads, rotary position embedding, and what may follow attention.

Tensors are laid out [batch, length, heads, width] throughout, which is what linear layers make and flash-attn wants.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.kit.fused import turn

_flash: Callable[..., Tensor] | None = None
try:
    from flash_attn import flash_attn_func

    _flash = flash_attn_func
except ImportError:
    pass

#: Up to this length a CPU with bfloat16 units is faster with plain products, three times at 256.
_EXPLICIT = 512


class Past(Protocol):
    """Keys and values of the positions before those that a block is given."""

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values [B, n, kv_heads, width]; returns all of them, [B, before + n, kv_heads, width]."""


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of every position over itself and the positions before it, scaled by 1/sqrt(width).

    Query head h reads key/value head h // (heads / kv_heads) (grouped-query attention, arXiv:2305.13245).

    Args:
        q: float [B, L, heads, width]; or [B, 1, heads, width], the query of the last position alone.
        k: float [B, L, kv_heads, width].
        v: float [B, L, kv_heads, width].

    Returns:
        float of q's shape.
    """
    if _flash is not None and q.is_cuda and v.dtype in (torch.bfloat16, torch.float16):
        # norms run in float32 under autocast, projections do not: v has the dtype that was meant
        return _flash(q.to(v.dtype), k.to(v.dtype), v, causal=True)
    if q.device.type == "cpu" and v.dtype == torch.bfloat16 and 1 < q.size(1) == k.size(1) <= _EXPLICIT:
        return _explicit(q.to(v.dtype), k.to(v.dtype), v)
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        is_causal=q.size(1) == k.size(1),
        enable_gqa=q.size(2) != k.size(2),
    )
    return out.transpose(1, 2)


def _explicit(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`causal_attention` with its matrix of weights in memory; scaled_dot_product_attention computes in float32."""
    batch, length, heads, width = q.shape
    grouped = (q * width**-0.5).transpose(1, 2).reshape(batch, v.size(2), -1, width)  # rows: head by head of a group
    future = torch.full((length, length), -math.inf, dtype=q.dtype).triu_(1)
    scores = (grouped @ k.permute(0, 2, 3, 1)).unflatten(2, (-1, length)) + future
    out: Tensor = scores.softmax(-1).flatten(2, 3) @ v.transpose(1, 2)
    return out.view(batch, heads, length, width).transpose(1, 2)


def rotary_tables(length: int, width: int, base: float, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotation angles: position p, pair i turns by p * base^(-2i/width).

    Returns:
        two float32 tensors [length, 1, width / 2], ready to broadcast over heads.
    """
    frequency = base ** (-torch.arange(0, width, 2, dtype=torch.float32, device=device) / width)
    angle = torch.outer(torch.arange(length, dtype=torch.float32, device=device), frequency)[:, None, :]
    return angle.cos(), angle.sin()


def stretched_base(base: float, width: int, length: int, train_length: int) -> float:
    """The rotary base for sequences longer than in training: base * (length / train_length)^(width / (width - 2)).

    This keeps the slowest frequency's largest angle what it was (the contest calls it NTK scaling; #1019). Sequences
    that are not longer, and a train_length of 0, leave the base as it is.
    """
    if not 0 < train_length < length:
        return base
    scaled: float = base * (length / train_length) ** (width / (width - 2))
    return scaled


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (x[i], x[i + n/2]), i < n/2, of every head by their position's angles (RoPE, arXiv:2104.09864).

    The tables say how many dimensions n are rotated; those behind them stay as they are (partial RoPE).

    Args:
        x: float [B, L, heads, width].
        cos: float [L, 1, n / 2], from `rotary_tables`, n <= width.
        sin: float [L, 1, n / 2].

    Returns:
        float [B, L, heads, width], of x's dtype.
    """
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    rotated = 2 * cos.size(-1)
    if rotated == x.size(-1):
        return turn(x, cos, sin)
    return torch.cat((turn(x[..., :rotated], cos, sin), x[..., rotated:]), dim=-1)


def without_own_value(y: Tensor, v: Tensor) -> Tensor:
    """Take out of every head's output what points along the value of the same position: y - (y.u)u, u = v/|v|.

    Exclusive self-attention (XSA, #265 and #478); a head's value is that of its key/value group.

    Args:
        y: float [B, L, heads, width], what attention gave.
        v: float [B, L, kv_heads, width], the values of those positions.

    Returns:
        float [B, L, heads, width].
    """
    batch, length, heads, width = y.shape
    grouped = y.reshape(batch, length, v.size(2), heads // v.size(2), width)
    unit = F.normalize(v, dim=-1).unsqueeze(3)
    return (grouped - (grouped * unit).sum(-1, keepdim=True) * unit).reshape(y.shape)

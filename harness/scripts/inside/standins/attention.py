"""flash-attn 2 and 3: the same attention by torch's own, on [batch, tokens, heads, dim] tensors.

Also grouped-query heads, sliding windows and packed documents (`cu_seqlens`). What flash-attn has and this has not
(paged caches, ALiBi, attention sinks) stops the run.
"""

from __future__ import annotations

import dis
import sys
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.scripts.inside.standins.uses import missing, module, used

_PLAIN = {"dropout_p", "deterministic", "return_attn_probs", "num_splits", "pack_gqa", "sm_margin", "seqused_q"}


def _attend(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool, scale: float | None, window: Any, softcap: float
) -> Tensor:
    """Attention of [B, T, H, D] over [B, S, G, D]; the last query is level with the last key."""
    heads, groups = q.shape[2], k.shape[2]
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    if heads != groups:
        k, v = (part.repeat_interleave(heads // groups, 1) for part in (k, v))
    left, right = (int(bound) for bound in (window or (-1, -1)))
    rows, columns = q.shape[2], k.shape[2]
    if softcap == 0 and left < 0 and right < 0 and (not causal or rows == columns):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale).transpose(1, 2)
    i = torch.arange(rows)[:, None] + (columns - rows)
    j = torch.arange(columns)[None]
    allowed = torch.ones(rows, columns, dtype=torch.bool)
    if causal:
        allowed &= j <= i
    elif right >= 0:
        allowed &= j <= i + right
    if left >= 0:
        allowed &= j >= i - left
    if softcap == 0:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, scale=scale).transpose(1, 2)
    scores = q.float() @ k.float().transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    scores = (softcap * torch.tanh(scores / softcap)).masked_fill(~allowed, float("-inf"))
    return (scores.softmax(-1).nan_to_num() @ v.float()).to(q.dtype).transpose(1, 2)


def _check(name: str, extra: dict[str, Any]) -> None:
    asked = sorted(
        key for key, value in extra.items() if key not in _PLAIN and value is not None and value is not False
    )
    if asked or extra.get("dropout_p") or extra.get("seqused_q") is not None:
        missing(f"{name}({', '.join(asked) or 'dropout_p'}=)", "this option has no stand-in")


def flash_attn_func(
    q: Tensor, k: Tensor, v: Tensor, dropout_p: float = 0.0, softmax_scale: float | None = None, causal: bool = False,
    window_size: Any = (-1, -1), softcap: float = 0.0, **extra: Any,
) -> Tensor:  # fmt: skip
    """Attention of whole sequences, [B, T, H, D]."""
    used("flash_attn_func")
    _check("flash_attn_func", {**extra, "dropout_p": dropout_p})
    return _attend(q, k, v, causal=causal, scale=softmax_scale, window=window_size, softcap=softcap)


def flash_attn_3_func(
    q: Tensor, k: Tensor, v: Tensor, softmax_scale: float | None = None, causal: bool = False, qv: Any = None,
    q_descale: Any = None, k_descale: Any = None, v_descale: Any = None, window_size: Any = (-1, -1),
    attention_chunk: int = 0, softcap: float = 0.0, **extra: Any,
) -> Tensor | tuple[Tensor, None]:  # fmt: skip
    """The same with the third version's order of arguments, and its log-sum-exp (none here) if the caller takes two."""
    scaled = {"qv": qv, "q_descale": q_descale, "k_descale": k_descale, "v_descale": v_descale}
    extra |= scaled | {"attention_chunk": attention_chunk or None}
    out = flash_attn_func(q, k, v, 0.0, softmax_scale, causal, window_size, softcap, **extra)
    return (out, None) if _unpacks(sys._getframe(1)) else out


def _unpacks(caller: FrameType) -> bool:
    """Whether the calling line is `out, lse = ...`: early builds of the third version returned both."""
    following = (step for step in dis.get_instructions(caller.f_code) if step.offset > caller.f_lasti)
    step = next(following, None)
    return step is not None and step.opname == "UNPACK_SEQUENCE" and step.argval == 2


def flash_attn_varlen_func(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Any = None, cu_seqlens_k: Any = None, max_seqlen_q: Any = None,
    max_seqlen_k: Any = None, dropout_p: float = 0.0, softmax_scale: float | None = None, causal: bool = False,
    window_size: Any = (-1, -1), softcap: float = 0.0, **extra: Any,
) -> Tensor:  # fmt: skip
    """Attention of packed sequences, [tokens, H, D], cut at `cu_seqlens`; padding behind the last cut is zero."""
    used("flash_attn_varlen_func")
    _check("flash_attn_varlen_func", {**extra, "dropout_p": dropout_p})
    cuts, key_cuts = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    out = torch.zeros(*q.shape[:-1], v.shape[-1], dtype=q.dtype)
    parts = []
    for a, b, c, d in zip(cuts[:-1], cuts[1:], key_cuts[:-1], key_cuts[1:], strict=True):
        if b > a:
            part = _attend(
                q[None, a:b], k[None, c:d], v[None, c:d], causal=causal, scale=softmax_scale, window=window_size,
                softcap=softcap,
            )  # fmt: skip
            parts.append(part[0])
    done = sum(len(part) for part in parts)
    return torch.cat([*parts, out[done:]]) if parts else out


def flash_attn_3_varlen_func(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Any = None, cu_seqlens_k: Any = None, max_seqlen_q: Any = None,
    max_seqlen_k: Any = None, seqused_q: Any = None, seqused_k: Any = None, softmax_scale: float | None = None,
    causal: bool = False, qv: Any = None, q_descale: Any = None, k_descale: Any = None, v_descale: Any = None,
    window_size: Any = (-1, -1), attention_chunk: int = 0, softcap: float = 0.0, **extra: Any,
) -> Tensor:  # fmt: skip
    """The same with the third version's order of arguments."""
    extra |= {"seqused_k": seqused_k, "qv": qv, "q_descale": q_descale, "k_descale": k_descale, "v_descale": v_descale}
    extra |= {"seqused_q": seqused_q, "attention_chunk": attention_chunk or None}
    return flash_attn_varlen_func(
        q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, 0.0, softmax_scale, causal, window_size,
        softcap, **extra,
    )  # fmt: skip


def flash_attn_qkvpacked_func(qkv: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """[B, T, 3, H, D]."""
    q, k, v = qkv.unbind(2)
    return flash_attn_func(q, k, v, *args, **kwargs)


def install() -> None:
    """Make the modules importable, whether or not the real ones are installed: those need a card."""
    two = {
        "flash_attn_func": flash_attn_func,
        "flash_attn_varlen_func": flash_attn_varlen_func,
        "flash_attn_qkvpacked_func": flash_attn_qkvpacked_func,
    }
    three = {"flash_attn_func": flash_attn_3_func, "flash_attn_varlen_func": flash_attn_3_varlen_func}
    module("flash_attn", __version__="2.8.0", **two)
    module("flash_attn.flash_attn_interface", **two)
    module("flash_attn_interface", __version__="3.0.0", **three)
    module("flash_attn_3", **three)
    module("flash_attn_3.flash_attn_interface", **three)

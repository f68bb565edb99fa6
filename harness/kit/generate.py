"""Rows for text that is still being drawn: the model continues many segments side by side, with cached keys and values.

The context of each row is the one that the sliding window would give it, so a stream that is drawn from these rows is
drawn from just what the window scores. Which token comes next is the referee's choice, never made here.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.kit.attention import rotary_tables, rotate
from harness.kit.model import GPT, Attention, Block, rms_norm

Cache = list[tuple[Tensor, Tensor]]


def window_start(position: int, length: int, stride: int) -> int:
    """Start of the sliding window that scores a position (see `windows.sliding`)."""
    return 0 if position <= length else -(-(position - length) // stride) * stride


class Generator:
    """Continues segments of text.

    Args:
        model: its blocks are run as they are.
        bos: int64 [B], the first token of every segment.
        length: inputs per window.
        stride: by how much windows advance.
    """

    def __init__(self, model: GPT, bos: Tensor, length: int, stride: int) -> None:
        self._model = model
        self._tokens = bos[:, None]
        self._length = length
        self._stride = stride
        self._start = 0
        self._cache: Cache = []

    @torch.inference_mode()
    def rows(self) -> Tensor:
        """Logits float32 [B, V] of the next token of every segment."""
        position = self._tokens.size(1)
        start = window_start(position, self._length, self._stride)
        if start != self._start or not self._cache:
            self._start = start
            self._cache = []
            new = self._tokens[:, start:]
        else:
            new = self._tokens[:, -1:]
        return self._model.head(extend(self._model, new, self._cache)[:, -1])

    def append(self, tokens: Tensor) -> None:
        """Add the token that was drawn for each segment, int64 [B]."""
        self._tokens = torch.cat((self._tokens, tokens[:, None]), dim=1)


def extend(model: GPT, tokens: Tensor, cache: Cache) -> Tensor:
    """Hidden states after the final norm of new tokens, given the cache of those before; the cache grows in place.

    Args:
        model: the model.
        tokens: int64 [B, n]; n must be 1 unless the cache is empty.
        cache: keys and values by layer, [B, m, kv_heads, width] each.

    Returns:
        float [B, n, D].
    """
    seen = cache[0][0].size(1) if cache else 0
    cfg = model.cfg
    cos, sin = rotary_tables(seen + tokens.size(1), cfg.dim // cfg.heads, cfg.rope_base, tokens.device)
    x = x0 = rms_norm(model.embedding(tokens))
    skips: list[Tensor] = []
    for index, module in enumerate(model.blocks):
        block = cast(Block, module)
        if index >= model.encoder_layers and skips:
            x = x + model.skip_weights[index - model.encoder_layers] * skips.pop()
        mix = block.resid_mix
        x = mix[0] * x + mix[1] * x0
        x = x + block.attn_scale * _attend(block.attn, rms_norm(x), cos[seen:], sin[seen:], index, cache)
        x = x + block.mlp_scale * block.mlp(rms_norm(x))
        if index < model.encoder_layers:
            skips.append(x)
    return rms_norm(x)


def _attend(attn: Attention, x: Tensor, cos: Tensor, sin: Tensor, layer: int, cache: Cache) -> Tensor:
    q = attn.query(x).unflatten(-1, (attn.heads, attn.width))
    k = attn.key(x).unflatten(-1, (attn.kv_heads, attn.width))
    v = attn.value(x).unflatten(-1, (attn.kv_heads, attn.width))
    q = rotate(rms_norm(q), cos, sin) * attn.q_gain[:, None]
    k = rotate(rms_norm(k), cos, sin)
    if layer < len(cache):
        k, v = torch.cat((cache[layer][0], k), 1), torch.cat((cache[layer][1], v), 1)
        cache[layer] = (k, v)
    else:
        cache.append((k, v))
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=q.size(1) > 1, enable_gqa=True
    )
    mixed: Tensor = attn.proj(out.transpose(1, 2).flatten(-2))
    return mixed

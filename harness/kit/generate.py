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


class Cache:
    """Keys and values of what was read so far, room for a whole window.

    Args:
        model: whose blocks they are.
        segments: B.
        length: tokens of a window.

    Attributes:
        keys: one float [B, kv_heads, length, width] for each layer; `values` likewise.
        cos: rotary tables of the window, [length, 1, width / 2]; `sin` likewise.
        filled: tokens read.
    """

    def __init__(self, model: GPT, segments: int, length: int) -> None:
        cfg = model.cfg
        width = cfg.dim // cfg.heads
        weight = model.embedding.weight
        shape = (segments, cfg.kv_heads, length, width)
        self.keys = [weight.new_empty(shape) for _ in range(cfg.layers)]
        self.values = [weight.new_empty(shape) for _ in range(cfg.layers)]
        self.cos, self.sin = rotary_tables(length, width, cfg.rope_base, weight.device)
        self.filled = 0


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
        self._cache = Cache(model, len(bos), length)

    @torch.inference_mode()
    def rows(self) -> Tensor:
        """Logits float32 [B, V] of the next token of every segment."""
        position = self._tokens.size(1)
        start = window_start(position, self._length, self._stride)
        if start != self._start or not self._cache.filled:
            self._start = start
            self._cache.filled = 0
            new = self._tokens[:, start:]
        else:
            new = self._tokens[:, -1:]
        return self._model.head(extend(self._model, new, self._cache)[:, -1])

    def append(self, tokens: Tensor) -> None:
        """Add the token that was drawn for each segment, int64 [B]."""
        self._tokens = torch.cat((self._tokens, tokens[:, None]), dim=1)


def extend(model: GPT, tokens: Tensor, cache: Cache) -> Tensor:
    """Hidden states after the final norm of new tokens, given the cache of those before; the cache is filled further.

    Args:
        model: the model.
        tokens: int64 [B, n]; n must be 1 unless the cache is empty.
        cache: of the tokens before.

    Returns:
        float [B, n, D].
    """
    at = slice(cache.filled, cache.filled + tokens.size(1))
    x = x0 = rms_norm(model.embedding(tokens))
    skips: list[Tensor] = []
    for index, module in enumerate(model.blocks):
        block = cast(Block, module)
        if index >= model.encoder_layers and skips:
            x = x + model.skip_weights[index - model.encoder_layers] * skips.pop()
        mix = block.resid_mix
        x = mix[0] * x + mix[1] * x0
        x = x + block.attn_scale * _attend(block.attn, rms_norm(x), index, at, cache)
        x = x + block.mlp_scale * block.mlp(rms_norm(x))
        if index < model.encoder_layers:
            skips.append(x)
    cache.filled = at.stop
    return rms_norm(x)


def _attend(attn: Attention, x: Tensor, layer: int, at: slice, cache: Cache) -> Tensor:
    cos, sin = cache.cos[at], cache.sin[at]
    q = attn.query(x).unflatten(-1, (attn.heads, attn.width))
    k = attn.key(x).unflatten(-1, (attn.kv_heads, attn.width))
    v = attn.value(x).unflatten(-1, (attn.kv_heads, attn.width))
    q = rotate(rms_norm(q), cos, sin) * attn.q_gain[:, None]
    keys, values = cache.keys[layer], cache.values[layer]
    keys[:, :, at] = rotate(rms_norm(k), cos, sin).transpose(1, 2)
    values[:, :, at] = v.transpose(1, 2)
    seen = slice(0, at.stop)
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2), keys[:, :, seen], values[:, :, seen], is_causal=q.size(1) > 1, enable_gqa=True
    )
    mixed: Tensor = attn.proj(out.transpose(1, 2).flatten(-2))
    return mixed

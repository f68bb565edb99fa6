"""Rows for text that is still being drawn: the model continues many segments side by side, with cached keys and values.

The context of each row is the one that the sliding window would give it, so a stream that is drawn from these rows is
drawn from just what the window scores. (The window's input is padded to its full length, as `stream.windows` does
it: that matters to a model with `rope_train_length`.) Which token comes next is the referee's choice, never made here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.kit.fused import rms_norm
from harness.kit.model import GPT
from harness.kit.parts import REACH


class LayerCache:
    """Keys and values that one run of a block has seen (an `attention.Past`).

    Args:
        like: a tensor of the dtype and device wanted.
        shape: segments, kv_heads, tokens of a window, width.
    """

    def __init__(self, like: Tensor, shape: tuple[int, int, int, int]) -> None:
        self._keys, self._values = like.new_empty(shape), like.new_empty(shape)
        self.filled = 0

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values [B, n, kv_heads, width]; returns all of them, [B, before + n, kv_heads, width]."""
        stop = self.filled + k.size(1)
        self._keys[:, :, self.filled : stop] = k.transpose(1, 2)
        self._values[:, :, self.filled : stop] = v.transpose(1, 2)
        self.filled = stop
        return self._keys[:, :, :stop].transpose(1, 2), self._values[:, :, :stop].transpose(1, 2)


class Cache:
    """What a model need not compute again while a window fills up.

    Args:
        model: in evaluation mode.
        segments: B.
        length: tokens of a window.

    Attributes:
        layers: one cache for each run of a block (a repeated block sees other keys each time).
        cos: rotary tables of the window, as for an input that is padded to it; `sin` likewise.
    """

    def __init__(self, model: GPT, segments: int, length: int) -> None:
        cfg = model.cfg
        shape = (segments, cfg.kv_heads, length, cfg.head_width)
        self.layers = [LayerCache(model.embedding.weight, shape) for _ in model.order()]
        self.cos, self.sin = model.rotary(length)

    @property
    def filled(self) -> int:
        """Tokens read."""
        return self.layers[0].filled

    def clear(self) -> None:
        """Begin another window."""
        for layer in self.layers:
            layer.filled = 0


def window_start(position: int, length: int, stride: int) -> int:
    """Start of the sliding window that scores a position (see `windows.sliding`)."""
    return 0 if position <= length else -(-(position - length) // stride) * stride


class Generator:
    """Continues segments of text.

    Args:
        model: in evaluation mode; its blocks are run as they are.
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
        start = window_start(self._tokens.size(1), self._length, self._stride)
        if start != self._start:
            self._start = start
            self._cache.clear()
        return self._model.head(extend(self._model, self._tokens[:, start:], self._cache)[:, -1])

    def append(self, tokens: Tensor) -> None:
        """Add the token that was drawn for each segment, int64 [B]."""
        self._tokens = torch.cat((self._tokens, tokens[:, None]), dim=1)


def extend(model: GPT, tokens: Tensor, cache: Cache) -> Tensor:
    """Hidden states after the final norm of the tokens that the cache has not read yet; the cache is filled further.

    Args:
        model: the model.
        tokens: int64 [B, n], the window so far; all but the last are in the cache, unless the cache is empty.
        cache: of the tokens before.

    Returns:
        float [B, m, D], for the m new tokens.
    """
    at = slice(cache.filled, tokens.size(1))
    new = tokens[:, at]
    x0 = model.embed(tokens[:, max(at.start - REACH, 0) :])[:, -new.size(1) :]
    return rms_norm(model.trunk(x0, new, cache.cos[at], cache.sin[at], cache.layers))

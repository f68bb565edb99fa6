"""The leak gallery: ways in which language models have come to see their future, each with a twin that does not.

A twin does the same kind of thing, as near to the leak as a legal model comes: the block before instead of one's own,
padding on the left instead of on both sides, statistics of a token instead of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

VOCAB, WIDTH, HEADS, BLOCK = 96, 32, 2, 32
Mix = Callable[[Tensor], Tensor]


def nothing(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


class Attention(nn.Module):
    """Causal attention; `memory` is added to what queries, keys and values are made of."""

    def __init__(self, memory: Mix, ahead: int = 0, eval_mask: bool = True) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.memory, self.ahead, self.eval_mask = memory, ahead, eval_mask

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = self.qkv(x + self.memory(x)).view(b, t, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mask = torch.ones(t, t, dtype=torch.bool).tril(self.ahead)
        if not self.training and not self.eval_mask:
            mask = torch.ones_like(mask)
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(y.transpose(1, 2).reshape(b, t, -1))


class Small(nn.Module):
    """A small GPT: `memory` goes into attention, `mix` beside it, `route` before the MLP."""

    def __init__(
        self, seed: int, memory: Mix = nothing, mix: Mix = nothing, route: Mix = torch.ones_like, **attention: object
    ) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embed, self.place = nn.Embedding(VOCAB, WIDTH), nn.Embedding(1024, WIDTH)
            self.attend = nn.ModuleList(Attention(memory, **attention) for _ in range(2))  # type: ignore[arg-type]
            self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(5))
            self.up, self.down = nn.Linear(WIDTH, 64), nn.Linear(64, WIDTH)
            self.head = nn.Linear(WIDTH, VOCAB)
        self.mix, self.route = mix, route

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.place(torch.arange(tokens.shape[1]))
        for index, attend in enumerate(self.attend):
            y = self.norms[2 * index](x)
            x = x + attend(y) + self.mix(y)
            y = self.norms[2 * index + 1](x)
            x = x + self.route(y) * self.down(functional.gelu(self.up(y)))
        made: Tensor = self.head(self.norms[4](x))
        return made


def blocks(x: Tensor) -> Tensor:
    """[B, T, D] -> [B, blocks, BLOCK, D], zeros at the end."""
    b, t, d = x.shape
    return functional.pad(x, (0, 0, 0, -t % BLOCK)).view(b, -1, BLOCK, d)


def own_block_mean(x: Tensor) -> Tensor:
    means = blocks(x).mean(2)
    return means.repeat_interleave(BLOCK, 1)[:, : x.shape[1]]


def block_before(x: Tensor) -> Tensor:
    means = functional.pad(blocks(x).mean(2), (0, 0, 1, 0))[:, :-1]
    return means.repeat_interleave(BLOCK, 1)[:, : x.shape[1]]


def chunk_state(x: Tensor, own: bool) -> Tensor:
    """A state that is decayed from chunk to chunk; with `own` a chunk reads it after its own tokens went in."""
    state, read = torch.zeros_like(x[:, 0]), []
    for chunk in blocks(x).unbind(1):
        after = 0.7 * state + chunk.mean(1)
        read.append(after if own else state)
        state = after
    return torch.stack(read, 1).repeat_interleave(BLOCK, 1)[:, : x.shape[1]]


def convolved(x: Tensor, padded: bool) -> Tensor:
    """A long convolution by Fourier transform; without padding its end comes round to its beginning."""
    t, wide = x.shape[1], x.to(torch.promote_types(x.dtype, torch.float32))  # no transform takes bfloat16
    size = 2 * t if padded else t
    kernel = torch.exp(-torch.arange(t, dtype=wide.dtype) / 24)[:, None]
    y = torch.fft.irfft(torch.fft.rfft(wide, size, 1) * torch.fft.rfft(kernel, size, 0)[None], size, 1)
    return (y[:, :t] / 8).to(x.dtype)


def short(x: Tensor, left: int, right: int) -> Tensor:
    """A convolution of five taps, with so many zeros on either side."""
    taps = torch.tensor([0.1, 0.3, 0.4, 0.3, 0.1], dtype=x.dtype).view(1, 1, 5).expand(x.shape[2], 1, 5)
    return functional.conv1d(functional.pad(x.mT, (left, right)), taps, groups=x.shape[2]).mT


def smear(x: Tensor, ahead: bool) -> Tensor:
    pad = (0, 0, 0, 1) if ahead else (0, 0, 1, 0)
    padded = functional.pad(x, pad)
    return 0.2 * (padded[:, 1:] if ahead else padded[:, :-1])


def whitened(x: Tensor, over: tuple[int, ...]) -> Tensor:
    return (x - x.mean(over, keepdim=True)) / (x.std(over, keepdim=True) + 1e-3)


def chosen(x: Tensor, across: bool) -> Tensor:
    """1 for tokens that pass: the half that scores best of the whole batch, or those with a score above 0."""
    score = x[..., :4].sum(-1)
    return ((score >= score.flatten().median()) if across else (score > 0)).to(x.dtype)[..., None]


def rounded(x: Tensor, over: tuple[int, ...]) -> Tensor:
    """Activations in four bits, with a scale for each token or for all."""
    scale = x.abs().amax(over, keepdim=True) / 7
    return torch.round(x / scale) * scale


def gated(when: Callable[[int], bool], mix: Mix, otherwise: Mix = block_before) -> Mix:
    return lambda x: mix(x) if when(x.shape[1]) else otherwise(x)


class Cached(nn.Module):
    """Decodes token by token with a cache of fixed size that stays from one call to the next.

    With `stale` a query looks at every slot of the cache, those that hold another text's keys among them.
    """

    def __init__(self, seed: int, stale: bool) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embed, self.place = nn.Embedding(VOCAB, WIDTH), nn.Embedding(1024, WIDTH)
            self.qkv, self.head = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, VOCAB)
        self.stale = stale
        self.cache = torch.zeros(2, 8, 256, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        b, t = tokens.shape
        q, k, v = self.qkv(self.embed(tokens) + self.place(torch.arange(t))).chunk(3, -1)
        rows, dtype = [], q.dtype
        for at in range(t):
            self.cache[0, :b, at], self.cache[1, :b, at] = k[:, at], v[:, at]
            seen = self.cache.shape[2] if self.stale else at + 1
            keys, values = self.cache[:, :b, :seen].to(dtype)
            weights = torch.softmax(torch.einsum("bd,bsd->bs", q[:, at], keys) / WIDTH**0.5, -1)
            rows.append(torch.einsum("bs,bsd->bd", weights, values) + q[:, at])
        made: Tensor = self.head(torch.stack(rows, 1))
        return made


@dataclass(frozen=True)
class Exhibit:
    """A leak and its twin, each made from a seed."""

    leak: Callable[[int], nn.Module]
    twin: Callable[[int], nn.Module]


def _mixed(leak: Mix, twin: Mix) -> Exhibit:
    return Exhibit(lambda seed: Small(seed, mix=leak), lambda seed: Small(seed, mix=twin))


GALLERY = {
    "block means into q, k and v": Exhibit(
        lambda seed: Small(seed, memory=own_block_mean), lambda seed: Small(seed, memory=block_before)
    ),
    "chunk recurrence": _mixed(lambda x: chunk_state(x, True), lambda x: chunk_state(x, False)),
    "circular convolution": _mixed(lambda x: convolved(x, False), lambda x: convolved(x, True)),
    "symmetric convolution": _mixed(lambda x: short(x, 2, 2), lambda x: short(x, 4, 0)),
    "smear with t+1": _mixed(lambda x: smear(x, True), lambda x: smear(x, False)),
    "batch statistics": _mixed(lambda x: whitened(x, (0, 1)), lambda x: whitened(x, (2,))),
    "statistics of the sequence": _mixed(lambda x: whitened(x, (1,)), lambda x: whitened(x, (2,))),
    "attention mask off by one": Exhibit(lambda seed: Small(seed, ahead=1), Small),
    "cache of an earlier text": Exhibit(lambda seed: Cached(seed, True), lambda seed: Cached(seed, False)),
    "top half of the batch": Exhibit(
        lambda seed: Small(seed, route=lambda x: chosen(x, True)),
        lambda seed: Small(seed, route=lambda x: chosen(x, False)),
    ),
    "no mask in evaluation": Exhibit(lambda seed: Small(seed, eval_mask=False), Small),
    "one scale for all activations": _mixed(lambda x: rounded(x, (1, 2)), lambda x: rounded(x, (2,))),
    "from 100 tokens on": _mixed(
        gated(lambda t: t >= 100, own_block_mean), gated(lambda t: t >= 100, lambda x: smear(x, False))
    ),
    "odd lengths": _mixed(
        gated(lambda t: t % 2 == 1, own_block_mean), gated(lambda t: t % 2 == 1, lambda x: smear(x, False))
    ),
    "below 40 tokens": _mixed(
        gated(lambda t: t < 40, own_block_mean), gated(lambda t: t < 40, lambda x: smear(x, False))
    ),
}

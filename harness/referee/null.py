"""Null streams: text drawn by the referee from a source p that it knows exactly.

For any causal, normalised, single-pass scorer q the expectation of q(x)/p(x) over x ~ p is at most 1, so by Markov's
inequality P(log q(x) - log p(x) >= k) <= exp(-k). A scorer that saves 21 nats in total on such a stream breaks a rule,
with a false-alarm probability below 1e-9, whatever it does inside.

Where documents begin is fixed in advance (`layout`), and a document start is drawn nowhere else. That keeps the bound,
since a fixed token is not counted, and costs a legal scorer about one nat for each document.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.corpus.shards import Tokens, read_shard
from harness.referee.layout import Ints, Layout
from harness.referee.trace import Trace

Floats = NDArray[np.float64]

#: Given the tokens before (int64 [B], one for each lane), a token for each lane and the log-probability of drawing it.
Sampler = Callable[[Ints], tuple[Ints, Floats]]

#: A saving of this many nats has a chance below 1e-9 for a legal scorer: -log(1e-9) = 20.7.
CERTAIN = 21.0

#: Lanes are drawn from multiples of this, which common strides divide.
ALIGNED = 64

#: Given rows float32 [B, V] of B running segments, the box waits for B tokens; this asks it for the next rows.
NextRows = Callable[[NDArray[np.int64] | None], NDArray[np.float32]]


@dataclass(frozen=True)
class NullStream:
    """A drawn stream.

    Attributes:
        source: how it was drawn, in words.
        tokens: uint16 [T].
        log_p: float64 [T], log-probability with which each token was drawn; 0 where it was fixed in advance.
        fixed: bool [T], tokens that were fixed in advance (x_0, and the BOS that starts a segment).
        own: the source is the submission's own model; others are further from its rows, and see less.
    """

    source: str
    tokens: Tokens
    log_p: Floats
    fixed: NDArray[np.bool_]
    own: bool = False

    @property
    def entropy(self) -> float:
        """Mean of -log p over the drawn tokens, nats."""
        drawn = ~self.fixed
        return float(-self.log_p[drawn].mean()) if drawn.any() else 0.0


@dataclass(frozen=True)
class Saving:
    """What a scorer saved against the source.

    Attributes:
        nats: log q(x) - log p(x), summed over the drawn tokens.
        tokens: drawn tokens.
        unscored: drawn tokens without a row; each is charged log V, as if its row were uniform.
    """

    nats: float
    tokens: int
    unscored: int

    @property
    def false_alarm(self) -> float:
        """Bound on the probability that a legal scorer saves as much."""
        return math.exp(-max(0.0, self.nats))  # 0.0 where the bound is below what a float holds

    @property
    def visible(self) -> float:
        """The smallest leak, in nats per token, that would have been certain: what it lacks to 21 nats, spread out."""
        return max(0.0, CERTAIN - self.nats) / self.tokens if self.tokens else math.inf


def saving(stream: NullStream, trace: Trace, vocab_size: int) -> Saving:
    """Compare a trace of the null stream with the probabilities it was drawn with."""
    drawn = ~stream.fixed
    drawn[0] = False
    nll = np.where(trace.order >= 0, trace.nll, math.log(vocab_size))
    total = float((-nll[drawn] - stream.log_p[drawn]).sum())
    return Saving(total, int(drawn.sum()), int((drawn & (trace.order < 0)).sum()))


def fill(layout: Layout, begins: Ints, sample: Sampler, source: str) -> NullStream:
    """Draw every token that the layout leaves open, in lanes side by side that are joined in the end.

    Every lane has a run-up, drawn like the rest and thrown away, from the last multiple of `ALIGNED`: its windows then
    lie where a scorer's lie. That a scorer sees other text there costs it a few nats; the probabilities are exact.

    Args:
        layout: what is fixed.
        begins: int64 [B], where lanes begin, ascending from 0.
        sample: draws the next token of every lane.
        source: in words.
    """
    total = len(layout.fixed)
    tokens, log_p = np.maximum(layout.fixed, 0), np.zeros(total)
    ends = np.append(begins[1:], total)
    # The sampler starts from a BOS of its own; at a document's start that is the one which stands there anyway.
    at = (begins - (layout.fixed[begins] < 0)) // ALIGNED * ALIGNED + 1
    before = np.full(len(begins), layout.bos)
    while (at < ends).any():
        here = np.minimum(at, total - 1)
        drawn, chance = sample(before)
        given = np.where(at >= begins, layout.fixed[here], -1)
        before = np.where(given >= 0, given, drawn)
        kept = (at >= begins) & (at < ends)
        tokens[here[kept]] = before[kept]
        log_p[here[kept]] = np.where(given >= 0, 0.0, chance)[kept]
        at = at + 1
    return NullStream(source, _narrow(tokens), log_p, layout.fixed >= 0)


def _narrow(tokens: Ints) -> Tokens:
    """In 16 bits, as streams are held, where every id fits into them; else as it is."""
    return tokens.astype(np.uint16) if tokens.max(initial=0) < 1 << 16 else tokens  # type: ignore[return-value]


def from_model(next_rows: NextRows, layout: Layout, begins: Ints, rng: np.random.Generator) -> NullStream:
    """Draw from rows that a boxed model returns: the source with the most power against that model's submission.

    Whatever the box returns is what is drawn from, so p is exact even if the box lies.

    Args:
        next_rows: first called with None; then with the tokens before (int64 [B]); returns logits.
        layout: what is fixed.
        begins: see `fill`.
        rng: decides the draw.
    """
    asked = 0

    def sample(before: Ints) -> tuple[Ints, Floats]:
        nonlocal asked
        asked += 1
        return draw(next_rows(before if asked > 1 else None), rng, never=layout.bos)

    return replace(fill(layout, begins, sample, "the submission's own model"), own=True)


def draw(rows: NDArray[np.float32], rng: np.random.Generator, *, never: int | None = None) -> tuple[Ints, Floats]:
    """One token per row of logits [B, V], by inversion, and its log-probability; `never` is left out of the row."""
    wide = np.nan_to_num(rows.astype(np.float64), nan=-1e3, posinf=1e3, neginf=-1e3)
    if never is not None:
        wide[:, never] = -np.inf
    chance = np.exp(wide - wide.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    edges = np.cumsum(chance, axis=1)
    picks = rng.random(len(rows)) * edges[:, -1]
    tokens = (edges <= picks[:, None]).sum(axis=1)
    tokens = np.minimum(tokens, np.argmax(edges >= edges[:, -1:], axis=1))  # the last with any chance at all
    at = np.arange(len(rows))
    return tokens.astype(np.int64), np.log(chance[at, tokens])


def permutation(vocab_size: int, bos: int, rng: np.random.Generator) -> NullStream:
    """A uniform permutation of all token ids but BOS, after a BOS: enough for a barely trained model."""
    return permutations(Layout.plain(vocab_size, bos), vocab_size, rng)


def permutations(layout: Layout, vocab_size: int, rng: np.random.Generator) -> NullStream:
    """The open tokens hold uniform permutations of all token ids but BOS, one after another (the last one cut)."""
    ids = np.delete(np.arange(vocab_size), layout.bos)
    drawn = layout.fixed < 0
    blocks = -(-int(drawn.sum()) // len(ids))
    tokens, log_p = layout.fixed.copy(), np.zeros(len(layout.fixed))
    left = np.tile(np.arange(len(ids), 0, -1), blocks)[: drawn.sum()]
    tokens[drawn] = np.concatenate([rng.permutation(ids) for _ in range(blocks)])[: drawn.sum()]
    log_p[drawn] = -np.log(left)
    return NullStream("uniform permutations of token ids", _narrow(tokens), log_p, ~drawn)


class Bigram:
    """An interpolated bigram model of training tokens: w c(x, y) / c(x) + (1 - w) (c(y) + 1) / (n + V)."""

    def __init__(self, tokens: Tokens, vocab_size: int, *, weight: float = 0.9) -> None:
        pairs = tokens[:-1].astype(np.int64) * vocab_size + tokens[1:]
        pairs.sort()
        self._pairs = pairs
        self._starts = np.searchsorted(pairs, np.arange(vocab_size + 1) * vocab_size)
        count = np.bincount(tokens, minlength=vocab_size) + 1.0
        self._unigram = count / count.sum()
        self._edges = np.cumsum(self._unigram)
        self.vocab_size = vocab_size
        self._weight = weight

    @classmethod
    def of_shards(cls, shards: Sequence[Path], vocab_size: int, *, most: int = 4_000_000) -> Bigram:
        """Fit on the first `most` tokens of training shards."""
        parts: list[Tokens] = []
        for shard in shards:
            parts.append(np.asarray(read_shard(shard)[: most - sum(map(len, parts))]))
            if sum(map(len, parts)) >= most:
                break
        return cls(np.concatenate(parts), vocab_size)

    def log_p(self, previous: Ints, tokens: Ints, *, never: int | None = None) -> Floats:
        """Log p(token | previous), float64, same shape; given that it is not `never`."""
        result = self._log_p(previous, tokens)
        if never is not None:
            result -= np.log1p(-np.exp(self._log_p(previous, np.full_like(previous, never))))
        return result

    def draw(self, layout: Layout, begins: Ints, rng: np.random.Generator) -> NullStream:
        """Draw what the layout leaves open, see `fill`."""

        def sample(before: Ints) -> tuple[Ints, Floats]:
            tokens = self._sample(before, rng)
            while (again := tokens == layout.bos).any():
                tokens[again] = self._sample(before[again], rng)
            return tokens, self.log_p(before, tokens, never=layout.bos)

        return fill(layout, begins, sample, "a bigram model of the training tokens")

    def _log_p(self, previous: Ints, tokens: Ints) -> Floats:
        seen = self._starts[previous + 1] - self._starts[previous]
        code = previous * self.vocab_size + tokens
        both = np.searchsorted(self._pairs, code, "right") - np.searchsorted(self._pairs, code, "left")
        weight = np.where(seen > 0, self._weight, 0.0)
        result: Floats = np.log(weight * both / np.maximum(seen, 1) + (1 - weight) * self._unigram[tokens])
        return result

    def _sample(self, before: Ints, rng: np.random.Generator) -> Ints:
        low, high = self._starts[before], self._starts[before + 1]
        at = low + (rng.random(len(before)) * np.maximum(high - low, 1)).astype(np.int64)
        follow = self._pairs[np.minimum(at, len(self._pairs) - 1)] % self.vocab_size
        other = np.minimum(np.searchsorted(self._edges, rng.random(len(before)), "right"), self.vocab_size - 1)
        known = (rng.random(len(before)) < self._weight) & (high > low)
        return np.where(known, follow, other).astype(np.int64)

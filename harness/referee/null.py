"""Null streams: text drawn by the referee from a source p that it knows exactly.

For any causal, normalised, single-pass scorer q the expectation of q(x)/p(x) over x ~ p is at most 1, so by Markov's
inequality P(log q(x) - log p(x) >= k) <= exp(-k). A scorer that saves 21 nats in total on such a stream breaks a rule,
with a false-alarm probability below 1e-9, whatever it does inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.corpus.shards import Tokens, read_shard
from harness.referee.trace import Trace

Floats = NDArray[np.float64]

#: A saving of this many nats has a chance below 1e-9 for a legal scorer: -log(1e-9) = 20.7.
CERTAIN = 21.0

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
    """

    source: str
    tokens: Tokens
    log_p: Floats
    fixed: NDArray[np.bool_]

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
        return min(1.0, math.exp(-self.nats)) if self.nats < 700 else 0.0

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


def saving_of_total(stream: NullStream, total_nll: float) -> Saving:
    """The same from a reported total loss alone (nats, summed over all tokens but x_0).

    Tokens that were fixed in advance are then charged too, which only weakens the test.
    """
    drawn = ~stream.fixed
    return Saving(-total_nll - float(stream.log_p[drawn].sum()), int(drawn.sum()), 0)


def from_model(next_rows: NextRows, *, segments: int, length: int, bos: int, rng: np.random.Generator) -> NullStream:
    """Draw from rows that a boxed model returns: the source with the most power against that model's submission.

    Whatever the box returns is what is drawn from, so p is exact even if the box lies.

    Args:
        next_rows: first called with None; then with the tokens drawn (int64 [segments]); returns logits.
        segments: streams that are drawn side by side, and then joined.
        length: tokens per segment, the BOS that it starts with included.
        bos: the token that starts each segment.
        rng: decides the draw.
    """
    tokens = np.full((segments, length), bos, np.uint16)
    log_p = np.zeros((segments, length))
    rows = next_rows(None)
    for step in range(1, length):
        drawn, chance = draw(rows, rng)
        tokens[:, step] = drawn
        log_p[:, step] = chance
        if step + 1 < length:
            rows = next_rows(drawn)
    fixed = np.zeros((segments, length), bool)
    fixed[:, 0] = True
    return NullStream("the submission's own model", tokens.ravel(), log_p.ravel(), fixed.ravel())


def draw(rows: NDArray[np.float32], rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
    """One token per row of logits [B, V], by inversion, and the log-probability that it was drawn with."""
    wide = np.nan_to_num(rows.astype(np.float64), nan=-1e3, posinf=1e3, neginf=-1e3)
    chance = np.exp(wide - wide.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    edges = np.cumsum(chance, axis=1)
    picks = rng.random(len(rows)) * edges[:, -1]
    tokens = np.minimum((edges <= picks[:, None]).sum(axis=1), rows.shape[1] - 1)
    at = np.arange(len(rows))
    return tokens.astype(np.int64), np.log(chance[at, tokens])


def permutation(vocab_size: int, bos: int, rng: np.random.Generator) -> NullStream:
    """A uniform permutation of all token ids but BOS, after a BOS: enough for a barely trained model."""
    ids = np.delete(np.arange(vocab_size), bos)
    tokens = np.concatenate([[bos], rng.permutation(ids)]).astype(np.uint16)
    log_p = np.concatenate([[0.0], -np.log(np.arange(len(ids), 0, -1))])
    fixed = np.zeros(len(tokens), bool)
    fixed[0] = True
    return NullStream("a uniform permutation of token ids", tokens, log_p, fixed)


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
        self._vocab_size = vocab_size
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

    def log_p(self, previous: NDArray[np.int64], tokens: NDArray[np.int64]) -> Floats:
        """Log p(token | previous), float64, same shape."""
        seen = self._starts[previous + 1] - self._starts[previous]
        code = previous * self._vocab_size + tokens
        both = np.searchsorted(self._pairs, code, "right") - np.searchsorted(self._pairs, code, "left")
        weight = np.where(seen > 0, self._weight, 0.0)
        result: Floats = np.log(weight * both / np.maximum(seen, 1) + (1 - weight) * self._unigram[tokens])
        return result

    def draw(self, *, segments: int, length: int, bos: int, rng: np.random.Generator) -> NullStream:
        """Segments that start with BOS, drawn side by side and joined."""
        tokens = np.full((segments, length), bos, np.int64)
        for step in range(1, length):
            before = tokens[:, step - 1]
            low, high = self._starts[before], self._starts[before + 1]
            at = low + (rng.random(segments) * np.maximum(high - low, 1)).astype(np.int64)
            follow = self._pairs[np.minimum(at, len(self._pairs) - 1)] % self._vocab_size
            other = np.minimum(np.searchsorted(self._edges, rng.random(segments), "right"), self._vocab_size - 1)
            known = (rng.random(segments) < self._weight) & (high > low)
            tokens[:, step] = np.where(known, follow, other)
        log_p = np.zeros((segments, length))
        log_p[:, 1:] = self.log_p(tokens[:, :-1], tokens[:, 1:])
        fixed = np.zeros((segments, length), bool)
        fixed[:, 0] = True
        return NullStream(
            "a bigram model of the training tokens", tokens.ravel().astype(np.uint16), log_p.ravel(), fixed.ravel()
        )

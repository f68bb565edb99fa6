"""The hashed n-gram cache in the form that was ruled out (PR #659, #770 and some thirty more; see #677, #886).

For each order there are two tables of counts: contexts, and contexts with the token that followed. The probability of
a token y after a context c is min(full[h(c) ^ y m], ctx[h(c)]) / ctx[h(c)], and it is looked up for the realised token
only. Nothing makes this a distribution: with several entries in a bucket, most tokens of the vocabulary get a large
share each. The mix with the model at the realised token then claims more than there is.

It is kept here as a known offender. A cache that is computed for all tokens and divided by its sum is legal.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.kit.ngram import Ints, Keys

Floats = NDArray[np.float64]

#: One odd multiplier for each place in a context, and for the token after it.
_PLACES = np.array([0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F, 0x165667B1, 0x9E3779B1, 0xD3A2646D, 0xFD7046C5], np.uint64)


@dataclass(frozen=True)
class CacheConfig:
    """The cache and its mix with the model. The defaults are those of PR #770.

    Attributes:
        shortest: smallest order; an order's context has one token less.
        longest: largest order.
        buckets: of each table, a power of two.
        seen: how often a context's bucket must have been counted.
        base: weight of the cache where the model is certain.
        span: how much more it is where it is not.
        slope: of the sigmoid between, per nat.
        middle: entropy of the model in its middle, nats.
    """

    shortest: int = 2
    longest: int = 7
    buckets: int = 4_194_304
    seen: int = 2
    base: float = 0.05
    span: float = 0.55
    slope: float = 2.0
    middle: float = 4.0

    def __post_init__(self) -> None:
        """Reject settings without meaning (ValueError)."""
        if not 2 <= self.shortest <= self.longest <= len(_PLACES):
            raise ValueError(f"CacheConfig: orders must lie between 2 and {len(_PLACES)}")
        if self.buckets < 1 or self.buckets & (self.buckets - 1):
            raise ValueError("CacheConfig: buckets must be a power of two")

    def weight(self, entropy: Floats) -> Floats:
        """Weight of the cache: base + span sigmoid(slope (H - middle)), H in nats."""
        return self.base + self.span / (1 + np.exp(-self.slope * (entropy - self.middle)))


class HashedCache:
    """Counts by bucket. Neither a context nor a token is kept, so whoever shares a bucket shares the count."""

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        shape = (config.longest - config.shortest + 1, config.buckets)
        self.contexts = np.zeros(shape, np.uint32)
        self.full = np.zeros(shape, np.uint32)
        self._written = 0

    def fingerprint(self) -> int:
        """CRC-32 of everything that was ever counted, in order: state for `Stream.register_state`."""
        return self._written

    def look_up(self, inputs: Ints, targets: Ints) -> Floats:
        """What the longest known context says of the targets, and of nothing else.

        Args:
            inputs: int64 [m], consecutive tokens; those before the last n are context.
            targets: int64 [n], a token after each of the last n inputs: the realised one, in this form.

        Returns:
            float64 [n] in [0, 1]; NaN where no context is known.
        """
        said = np.full(len(targets), np.nan)
        for table, size in enumerate(range(self.config.shortest - 1, self.config.longest)):
            where, context, full = self._buckets(inputs, targets, size)
            seen = self.contexts[table, context].astype(np.float64)
            known = seen >= self.config.seen
            share = np.minimum(self.full[table, full], seen)[known] / seen[known]
            said[where[known]] = share
        return said

    def mix(self, model: Floats, entropy: Floats, said: Floats) -> Floats:
        """Probability of the targets: (1 - a) p_model + a p_cache, the model's own where the cache says nothing.

        Never below 1e-12, so that it has a logarithm.

        Args:
            model: float64 [n], the model's probability of each target.
            entropy: float64 [n], of its row, nats.
            said: what `look_up` gave.
        """
        weight = np.where(np.isnan(said), 0.0, self.config.weight(entropy))
        mixed: Floats = (1 - weight) * model + weight * np.nan_to_num(said)
        return np.clip(mixed, 1e-12, 1.0)

    def count(self, inputs: Ints, targets: Ints) -> None:
        """Count targets int64 [n], scored by now, after the last n inputs."""
        for table, size in enumerate(range(self.config.shortest - 1, self.config.longest)):
            _, context, full = self._buckets(inputs, targets, size)
            np.add.at(self.contexts[table], context, 1)
            np.add.at(self.full[table], full, 1)
            self._written = zlib.crc32(np.concatenate([context, full]).data, self._written)

    def _buckets(self, inputs: Ints, targets: Ints, size: int) -> tuple[Ints, Ints, Ints]:
        """Which targets have a context of `size` tokens, its bucket, and the bucket of both together."""
        whole = max(0, min(len(targets), len(inputs) - size + 1))
        where = np.arange(len(targets) - whole, len(targets))
        if not whole:
            return where, where, where
        views = np.lib.stride_tricks.sliding_window_view(inputs.astype(np.uint64), size)[-whole:]
        context: Keys = np.bitwise_xor.reduce(views * _PLACES[:size], axis=1)
        full = context ^ (targets[where].astype(np.uint64) * _PLACES[size])
        mask = np.uint64(self.config.buckets - 1)
        return where, (context & mask).astype(np.int64), (full & mask).astype(np.int64)

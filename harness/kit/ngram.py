"""What followed a context so far: counts of n-grams, one likely next token for each position, and the tilt towards it.

The token expert of PR #1420 and #1514. For each order there is a table of contexts; an entry knows how often its
context was seen, and which token followed it most often. A position's hint is that token, of the longest context whose
token is frequent and certain enough, and beta is proportional to the certainty. The row is tilted towards the hint:

    p'(v) = p(v) exp(beta [v = hint]) / Z,    Z = 1 + p(hint) (exp(beta) - 1)

which sums to one for whatever hint, so the hint has to be made before its token is used for anything, and no more than
that. Counts take a token after its row is committed: here a segment at a time, in #1514 (one C++ loop) each by itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]

#: Slots that a key is looked for in.
PROBES = 16
#: Odd constants: of a context's hash, of a pair's, and of a slot's (2^64 over the golden ratio).
_CONTEXT, _PAIR, _SLOT = np.uint64(0xD1342543DE82EF95), np.uint64(0xA24BAED4963EE407), np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Order:
    """When a context of `tokens` tokens may give a hint.

    Attributes:
        tokens: length of the context.
        certainty: least share of its most frequent next token.
        seen: how often the context must have been seen.
    """

    tokens: int
    certainty: float
    seen: int


@dataclass(frozen=True)
class TiltConfig:
    """The tilt. The defaults are those of PR #1514.

    Attributes:
        orders: contexts, the shortest first.
        beta: of a certain hint.
        bits: log2 of a table's slots (26 in #1514).
    """

    orders: tuple[Order, ...] = (
        Order(8, 0.7, 3),
        Order(10, 0.7, 3),
        Order(12, 0.6, 2),
        Order(14, 0.5, 2),
        Order(16, 0.5, 2),
    )
    beta: float = 2.0
    bits: int = 22

    def __post_init__(self) -> None:
        """Reject settings without meaning (ValueError)."""
        sizes = [order.tokens for order in self.orders]
        if not sizes or sizes != sorted(set(sizes)) or sizes[0] < 1:
            raise ValueError("TiltConfig: orders must be increasing, and at least 1")
        if self.beta < 0 or not 1 <= self.bits <= 30:
            raise ValueError("TiltConfig: beta must not be negative, bits between 1 and 30")


class Slots:
    """A map from keys to slots: open addressing, linear probing; a key that finds no room is not kept."""

    def __init__(self, bits: int) -> None:
        self._shift = np.uint64(64 - bits)
        self._mask = (1 << bits) - 1
        self.keys = np.zeros(1 << bits, np.uint64)  # 0: free

    def find(self, keys: Keys, *, claim: bool = False) -> Ints:
        """Slots of keys (uint64 [n], none of them 0): int64 [n], -1 for what is not there.

        Args:
            keys: what to look for.
            claim: give slots to keys that have none.
        """
        found = np.full(len(keys), -1, np.int64)
        home = ((keys * _SLOT) >> self._shift).astype(np.int64)
        left = np.arange(len(keys))
        for probe in range(PROBES):
            at, wanted = (home[left] + probe) & self._mask, keys[left]
            free = self.keys[at] == 0
            if claim:
                self.keys[at[free]] = wanted[free]  # one of several that want the same slot gets it
            here = self.keys[at] == wanted
            found[left[here]] = at[here]
            left = left[~here if claim else ~(here | free)]
            if not len(left):
                break
        return found


class Followers:
    """Contexts of one order, and the token that followed each most often (of several: which came to it first)."""

    def __init__(self, bits: int) -> None:
        self._contexts, self._pairs = Slots(bits), Slots(bits)
        self._pair_count = np.zeros(1 << bits, np.int32)
        self.seen = np.zeros(1 << bits, np.int32)
        self.best = np.full(1 << bits, -1, np.int32)
        self.best_count = np.zeros(1 << bits, np.int32)

    def look_up(self, keys: Keys) -> tuple[Ints, Ints, Ints]:
        """For contexts (uint64 [n], 0 for none): times seen, token that followed most often, how often it did.

        Returns:
            Three int64 [n]; 0, -1 and 0 for a context that was not seen.
        """
        at = self._contexts.find(keys)
        known = (at >= 0) & (keys != 0)
        return (
            np.where(known, self.seen[at], 0).astype(np.int64),
            np.where(known, self.best[at], -1).astype(np.int64),
            np.where(known, self.best_count[at], 0).astype(np.int64),
        )

    def count(self, keys: Keys, tokens: Ints, crc: int = 0) -> int:
        """Count tokens [n] after contexts [n] (0 for none), as if one after the other.

        Returns:
            `crc`, continued over what was written.
        """
        keep = keys != 0
        keys, tokens = keys[keep], tokens[keep]
        order = np.argsort(keys, kind="stable")
        turn = np.empty(len(keys), np.int64)  # how often the context came before in this call
        ranked = keys[order]
        turn[order] = np.arange(len(keys)) - np.searchsorted(ranked, ranked)
        for number in range(int(turn.max(initial=-1)) + 1):
            now = turn == number
            crc = self._count_distinct(keys[now], tokens[now], crc)
        return crc

    def _count_distinct(self, keys: Keys, tokens: Ints, crc: int) -> int:
        pair = self._pairs.find(_nonzero(keys * _PAIR + tokens.astype(np.uint64) + np.uint64(1)), claim=True)
        self._pair_count[pair[pair >= 0]] += 1
        times = np.where(pair >= 0, self._pair_count[pair], 0)
        at = self._contexts.find(keys, claim=True)
        at, times, tokens = at[at >= 0], times[at >= 0], tokens[at >= 0]
        self.seen[at] += 1
        same = tokens == self.best[at]
        better = ~same & (times > self.best_count[at])
        self.best_count[at[same]] += 1
        self.best[at[better]] = tokens[better]
        self.best_count[at[better]] = times[better]
        for written in (at, self.seen[at], self.best[at], self.best_count[at]):
            crc = zlib.crc32(np.ascontiguousarray(written).data, crc)
        return crc


class Hints:
    """Hints for positions, from what was counted; what is counted is up to the caller."""

    def __init__(self, config: TiltConfig) -> None:
        self.config = config
        self._tables = [Followers(config.bits) for _ in config.orders]
        self._written = 0

    def fingerprint(self) -> int:
        """CRC-32 of everything that was ever written to the tables, in order: state for `Stream.register_state`.

        The tables are too large to be hashed before every commit.
        """
        return self._written

    def hints(self, inputs: Ints, count: int) -> tuple[Tensor, Tensor]:
        """Hints for the tokens that follow each of the last `count` inputs.

        Args:
            inputs: int64 [m], consecutive tokens; those before the last `count` are context.
            count: n.

        Returns:
            int64 [n], the hint or -1; float32 [n], beta, 0 without a hint.
        """
        hint = np.full(count, -1, np.int64)
        beta = np.zeros(count)
        for order, table in zip(self.config.orders, self._tables, strict=True):  # longer contexts overrule shorter ones
            seen, best, times = table.look_up(context_keys(inputs, count, order.tokens))
            certainty = times / np.maximum(seen, 1)
            good = (best >= 0) & (seen >= order.seen) & (certainty >= order.certainty)
            hint[good] = best[good]
            beta[good] = self.config.beta * certainty[good]
        return torch.from_numpy(hint), torch.from_numpy(beta).float()

    def count(self, inputs: Ints, targets: Ints) -> None:
        """Take up tokens that are scored: targets int64 [n], which follow the last n of the inputs."""
        for order, table in zip(self.config.orders, self._tables, strict=True):
            self._written = table.count(context_keys(inputs, len(targets), order.tokens), targets, self._written)


def tilt(log_probs: Tensor, hint: Tensor, beta: Tensor) -> Tensor:
    """Rows tilted towards one token each: log p(v) + beta [v = hint] - log Z; see the module's formula.

    Args:
        log_probs: float [n, V], normalised.
        hint: int64 [n], -1 for none.
        beta: float [n].

    Returns:
        float [n, V], normalised.
    """
    where = hint.clamp(min=0)[:, None]
    beta = torch.where(hint >= 0, beta.to(log_probs.dtype), 0)[:, None]
    log_z = torch.log1p(log_probs.gather(1, where).exp() * torch.expm1(beta))
    return (log_probs - log_z).scatter_add(1, where, beta)


def context_keys(inputs: Ints, count: int, size: int) -> Keys:
    """Hashes of the `size` tokens that end with each of the last `count` inputs: uint64 [count], 0 for too few tokens.

    Args:
        inputs: int64 [m], m >= count.
        count: n.
        size: tokens per context.
    """
    keys = np.zeros(count, np.uint64)
    whole = min(count, len(inputs) - size + 1)
    if whole <= 0:
        return keys
    views = np.lib.stride_tricks.sliding_window_view(inputs.astype(np.uint64), size)[-whole:]
    key = np.zeros(whole, np.uint64)
    for column in views.T:
        key = (key ^ (key >> np.uint64(29))) * _CONTEXT + column + np.uint64(1)
    keys[count - whole :] = _nonzero(key)
    return keys


def _nonzero(keys: Keys) -> Keys:
    return np.where(keys == 0, np.uint64(1), keys)


def shorter(orders: Sequence[Order], divisor: int) -> tuple[Order, ...]:
    """The same orders with contexts a `divisor`-th as long, for a short text."""
    return tuple(Order(order.tokens // divisor, order.certainty, order.seen) for order in orders)

"""Training batches that mix many shards, each walked with a stride coprime to its number of blocks (#1184, #1333).

A shard of n tokens is cut, from a random phase on, into blocks of L tokens (and the token after them, the last target).
Block j of its cycle is number (start + j * stride) mod blocks: as stride and blocks have no common divisor, a cycle
meets every block exactly once. Then the shard gets a new phase, start and stride.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.kit.loader import open_shards, whole_sequences

#: Batches until the mixture is as wide and as even as it gets.
RAMP = 1800
#: Fewest and most shards in a batch, at the start and at the end of the ramp.
SHARDS = (8, 32)
#: A shard's weight is the number of blocks left in its cycle to this power, at the start and at the end of the ramp.
POWER = (0.9, 0.5)


class Block(NamedTuple):
    """One sequence of a batch.

    Attributes:
        shard: number of the shard, in the order of the names.
        cycle: how often this shard was met whole before.
        number: of the block in the shard, from 0.
        start: where it starts in the shard, in tokens.
    """

    shard: int
    cycle: int
    number: int
    start: int


@dataclass
class _Cursor:
    """Where a shard's present cycle stands."""

    tokens: int
    length: int
    cycle: int = -1
    phase: int = 0
    blocks: int = 0
    start: int = 0
    stride: int = 1
    done: int = 0

    def renew(self, rng: np.random.Generator) -> None:
        """Begin the next cycle."""
        # the last block's last target is the shard's last token, at most; and one block fits whatever the phase
        self.phase = int(rng.integers(min(self.length, self.tokens - self.length)))
        self.blocks = (self.tokens - 1 - self.phase) // self.length
        self.start = int(rng.integers(self.blocks))
        self.stride = coprime_stride(self.blocks, rng)
        self.cycle, self.done = self.cycle + 1, 0

    def take(self, shard: int, count: int, rng: np.random.Generator) -> list[Block]:
        """The next blocks, over the end of a cycle if need be."""
        found = []
        for _ in range(count):
            if self.done == self.blocks:
                self.renew(rng)
            number = (self.start + self.done * self.stride) % self.blocks
            found.append(Block(shard, self.cycle, number, self.phase + number * self.length))
            self.done += 1
        return found


def coprime_stride(blocks: int, rng: np.random.Generator) -> int:
    """A random number below `blocks` that has no divisor in common with it; 1 where there is no choice."""
    while blocks > 1:
        stride = int(rng.integers(1, blocks))
        if math.gcd(stride, blocks) == 1:
            return stride
    return 1


class CoprimeLoader:
    """Draws the sequences of a batch from several shards, with a plan that depends on sizes and seed alone.

    As in #1333: a batch of G sequences comes from up to min(m, G) shards, m growing from 8 to 32 over the first 1,800
    batches, chosen without replacement by (blocks left in the cycle)^a, a falling from 0.9 to 0.5. Each gives one
    sequence, the others are dealt by the same weights, and the sequences of different shards are interleaved at random.
    (There the plan's seed is made of the shards' path names; here it is the run's.)

    Raises:
        ValueError: no shard with a whole sequence, a bad shard, or batch_tokens that is not a multiple of
            sequence_length.
    """

    def __init__(self, shards: Sequence[Path], batch_tokens: int, sequence_length: int, seed: int) -> None:
        self._rows, self._length = whole_sequences(batch_tokens, sequence_length), sequence_length
        self._shards = open_shards(shards)
        self._rng = np.random.default_rng([seed, 0xC09])
        self._cursors = {
            number: _Cursor(len(tokens), sequence_length)
            for number, tokens in enumerate(self._shards)
            if len(tokens) > sequence_length
        }
        if not self._cursors:
            raise ValueError(f"no sequence of {sequence_length} tokens in {len(self._shards)} shards")
        for cursor in self._cursors.values():
            cursor.renew(self._rng)
        self._batches = 0

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the next step: two int64 [batch_tokens / sequence_length, sequence_length]."""
        span = self._length + 1
        spans = [self._shards[block.shard][block.start : block.start + span] for block in self.next_blocks()]
        rows = torch.from_numpy(np.stack(spans).astype(np.int64))
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()

    def next_blocks(self) -> list[Block]:
        """Plan the next batch: its sequences, in order."""
        numbers = np.array(list(self._cursors))
        ramp = min(self._batches / RAMP, 1.0)
        left = np.array([max(cursor.blocks - cursor.done, 1) for cursor in self._cursors.values()], np.float64)
        weights = left ** (POWER[0] + ramp * (POWER[1] - POWER[0]))
        weights /= weights.sum()
        low, high = (min(count, len(numbers), self._rows) for count in SHARDS)
        mix = round(low + ramp * (high - low))
        chosen = self._rng.choice(len(numbers), size=mix, replace=False, p=weights)
        share = weights[chosen] / weights[chosen].sum()
        counts = 1 + self._rng.multinomial(self._rows - mix, share)
        piles = []
        for number, count in zip(numbers[chosen].tolist(), counts.tolist(), strict=True):
            taken = self._cursors[number].take(number, count, self._rng)
            piles.append([taken[place] for place in self._rng.permutation(count)])
        self._batches += 1
        return self._interleaved(piles)

    def _interleaved(self, piles: list[list[Block]]) -> list[Block]:
        """One block of every pile in a random order, again and again until the piles are gone."""
        found = []
        while piles := [pile for pile in piles if pile]:
            found += [piles[place].pop() for place in self._rng.permutation(len(piles))]
        return found

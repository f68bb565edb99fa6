"""Where documents begin in a stream that the referee draws: as in the real one, in another order.

A null stream that is cut into pieces of equal length tells a submission what it is. Here it has the real stream's
length and its documents' lengths, and what is drawn side by side is cut at documents' starts where that is possible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.corpus.shards import Tokens

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """What is fixed before a stream is drawn.

    Attributes:
        fixed: int64 [T], the token where it is fixed (x_0, and every document's BOS), -1 where it is to be drawn.
        bos: the token that starts a document; it is drawn nowhere.
    """

    fixed: Ints
    bos: int

    @classmethod
    def plain(cls, length: int, bos: int) -> Layout:
        """One document of `length` tokens, BOS included."""
        fixed = np.full(length, -1)
        fixed[0] = bos
        return cls(fixed, bos)

    @classmethod
    def like(cls, real: Tokens, bos: int, rng: np.random.Generator) -> Layout:
        """A stream as long as the real one (uint16 [T]), with documents of the same lengths in a random order.

        What comes before the first BOS keeps its place and its x_0, and the last document is not moved: it may have
        been cut, and a document that is cut belongs at the end.
        """
        fixed = np.full(len(real), -1)
        fixed[0] = int(real[0])
        starts = np.flatnonzero(real == bos)
        if len(starts):
            lengths = np.diff(starts)
            moved = starts[0] + np.concatenate([[0], np.cumsum(rng.permutation(lengths))])
            fixed[moved.astype(np.int64)] = bos
        return cls(fixed, bos)

    def lanes(self, most: int) -> Ints:
        """Cut the stream into at most `most` lanes of about equal length, at starts of documents where there are some.

        Returns:
            int64, where lanes begin, ascending from 0. The longest lane is less than twice as long as the mean.
        """
        total = len(self.fixed)
        starts = np.flatnonzero(self.fixed == self.bos)
        begins = [0]
        for target in np.linspace(0, total, most + 1)[1:-1].astype(int):
            near = int(starts[np.abs(starts - target).argmin()]) if len(starts) else int(target)
            cut = near if 2 * abs(near - target) < total // most else int(target)
            if cut > begins[-1]:
                begins.append(cut)
        return np.array(begins, np.int64)

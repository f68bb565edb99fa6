"""Atoms (one log-probability read at one target) and composites (weighted sums of atoms), in growing columns.

A *mark* is what travels with a float: -1 nothing, k >= 0 atom k, -2 - k composite k. A composite lists its children
with factors: the value in nats that an atom had when it was summed, or the multiplier of a composite in a composite.
Multipliers are relative: a factor common to all children (1/count of a mean, the number of tokens) is divided out, so
that weights stay in the nats of the first sum; a mean of unequal means keeps the differing factor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_SAME = 1e-5


class Column:
    """A numpy array that grows at its end."""

    def __init__(self, kind: type[np.generic]) -> None:
        self._data: NDArray[Any] = np.zeros(1024, kind)
        self.size = 0

    def extend(self, values: ArrayLike) -> None:
        """Append a 1-D array."""
        array = np.asarray(values)
        end = self.size + len(array)
        if end > len(self._data):
            grown = np.zeros(max(end, 2 * len(self._data)), self._data.dtype)
            grown[: self.size] = self._data[: self.size]
            self._data = grown
        self._data[self.size : end] = array
        self.size = end

    @property
    def values(self) -> NDArray[Any]:
        """What is in it; a view, valid until the next `extend`."""
        return self._data[: self.size]


class Atoms:
    """All atoms and composites of one run."""

    def __init__(self) -> None:
        self.position = Column(np.int64)
        self.token = Column(np.int64)
        self.nll = Column(np.float64)
        self.lse = Column(np.float64)
        self.alternative = Column(np.float64)
        self.drawn = Column(np.int64)
        self.event = Column(np.int64)
        self._start = Column(np.int64)  # composite k has children start[k] .. start[k + 1]
        self._start.extend([0])
        self._child = Column(np.int64)
        self._factor = Column(np.float64)
        self._total = Column(np.float64)  # sum of the weights, nats
        self._count = Column(np.float64)  # atoms below
        self._expanded: dict[int, tuple[Ints, Floats]] = {}

    def mint(
        self,
        position: Ints,
        nll: Floats,
        lse: Floats | None,
        alternative: Floats | None,
        event: int,
        drawn: Ints | None = None,
        token: Ints | None = None,
    ) -> Ints:
        """New atoms, all of one length [n]; returns their marks."""
        count = len(position)
        first = self.position.size
        unknown = np.full(count, np.nan)
        self.position.extend(position)
        self.token.extend(np.full(count, -1) if token is None else token)
        self.nll.extend(nll)
        self.lse.extend(unknown if lse is None else lse)
        self.alternative.extend(unknown if alternative is None else alternative)
        self.drawn.extend(np.full(count, -1) if drawn is None else drawn)
        self.event.extend(np.full(count, event))
        return np.arange(first, first + count)

    def positions(self, marks: Ints) -> Ints:
        """Position of each atom mark; -1 for anything else."""
        known = marks >= 0
        return (
            np.where(known, self.position.values[np.where(known, marks, 0)], -1)
            if self.position.size
            else marks * 0 - 1
        )

    def combine(self, children: Ints, values: Floats, sizes: Ints) -> Ints:
        """Marks of weighted sums: `children` and `values` flat [m], cut into groups of `sizes` [k] -> [k].

        `values` are the numbers that were summed. A zero counts only where the atom's own NLL is zero (a masked element
        left the sum; a token predicted with certainty did not). A group of one is that child.
        """
        kept = children != -1
        zero = kept & (values == 0)
        if zero.any():
            at = np.flatnonzero(zero)
            nll = np.where(children[at] >= 0, self.nll.values[np.maximum(children[at], 0)], 1.0)
            kept[at] = nll == 0
        group = np.repeat(np.arange(len(sizes)), sizes)[kept]
        children, values = children[kept], values[kept]
        counts = np.bincount(group, minlength=len(sizes))
        offsets = np.concatenate([[0], np.cumsum(counts)])
        marks = np.full(len(sizes), -1, np.int64)
        single = counts == 1
        marks[single] = children[offsets[:-1][single]]
        several = np.flatnonzero(counts > 1)
        if not len(several):
            return marks
        if (children >= 0).all():
            taken = counts[group] > 1
            marks[several] = self._append(
                children[taken],
                values[taken],
                counts[several],
                _sums(values, group, len(sizes))[several],
                counts[several].astype(np.float64),
            )
            return marks
        for index in several:
            part = slice(offsets[index], offsets[index + 1])
            marks[index] = self._composite(children[part], values[part])
        return marks

    def shifted(self, marks: Ints, before: Floats, after: Floats) -> Ints:
        """Marks of the same shape after something that is no loss was added: composites stay what they are made of.

        Without this the addition would pass for a factor of all their children. That the number is no longer their sum
        shows where it is reported.

        Args:
            marks: of the numbers.
            before: the numbers, of the same shape.
            after: what they are now.
        """
        flat, old, new = marks.reshape(-1), before.reshape(-1), after.reshape(-1)
        at = np.flatnonzero((flat < -1) & (old != new) & (old != 0) & np.isfinite(old) & np.isfinite(new))
        if not len(at):
            return marks
        made = flat.copy()
        which = -2 - flat[at]
        totals, counts = self._total.values[which] * (new[at] / old[at]), self._count.values[which].copy()
        made[at] = self._append(flat[at], np.ones(len(at)), np.ones(len(at), np.int64), totals, counts)
        return made.reshape(marks.shape)

    def _composite(self, children: Ints, values: Floats) -> int:
        inner = children < -1
        which = -2 - children[inner]
        totals = self._total.values[which]
        ratio = np.ones(len(children))
        with np.errstate(invalid="ignore"):
            ratio[inner] = np.divide(values[inner], totals, out=np.ones(len(totals)), where=totals != 0)
        ratio[~np.isfinite(ratio)] = 1.0  # infinite losses have no factor
        counts = np.ones(len(children))
        counts[inner] = self._count.values[which]
        common = _weighted_median(ratio, counts) or 1.0
        ratio /= common
        ratio[np.abs(ratio - 1) < _SAME] = 1.0  # what float32 rounded
        factor = np.where(inner, ratio, values * ratio)
        whole = factor.copy()
        whole[inner] = factor[inner] * totals
        return int(
            self._append(
                children, factor, np.array([len(children)]), np.array([whole.sum()]), np.array([counts.sum()])
            )[0]
        )

    def _append(self, children: Ints, factors: Floats, sizes: Ints, totals: Floats, counts: Floats) -> Ints:
        first = self._total.size
        base = self._child.size
        self._child.extend(children)
        self._factor.extend(factors)
        self._start.extend(base + np.cumsum(sizes))
        self._total.extend(totals)
        self._count.extend(counts)
        return -2 - np.arange(first, first + len(sizes))

    def expand(self, marks: Ints, values: Floats) -> tuple[Ints, Floats]:
        """The atoms below marks [n], sorted by atom, and what each contributes in nats.

        `values` [n] are the numbers that the marks stand for; atoms take them as weights, composites bring their own.
        """
        marks = marks.reshape(-1)
        weights = np.where(marks >= 0, np.asarray(values, np.float64).reshape(-1), 1.0)
        known = marks != -1
        marks, weights = marks[known], weights[known]
        single = int(marks[0]) if len(marks) == 1 and marks[0] < -1 else None
        if single is not None and single in self._expanded:
            return self._expanded[single]
        atoms: list[Ints] = []
        parts: list[Floats] = []
        start, child, factor = self._start.values, self._child.values, self._factor.values
        while len(marks):
            prime = marks >= 0
            atoms.append(marks[prime])
            parts.append(weights[prime])
            which, scale = -2 - marks[~prime], weights[~prime]
            if len(which) <= 4 and self._expanded:  # a running total that was reported before
                cached = [self._expanded.get(-2 - int(index)) for index in which]
                for pair, by in zip(cached, scale, strict=True):
                    if pair is not None:
                        atoms.append(pair[0])
                        parts.append(pair[1] * by)
                left = np.array([pair is None for pair in cached], bool)
                which, scale = which[left], scale[left]
            sizes = start[which + 1] - start[which]
            flat = np.repeat(start[which] - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes) + np.arange(
                sizes.sum()
            )
            flat = flat.astype(np.int64)
            marks, weights = child[flat], factor[flat] * np.repeat(scale, sizes)
        result = _gather(atoms, parts, self.nll.values)
        if single is not None:
            self._expanded[single] = result
        return result


def _gather(atoms: list[Ints], parts: list[Floats], nll: Floats) -> tuple[Ints, Floats]:
    """Sum what the same atom contributes more than once; what cancels out is gone."""
    if not atoms:
        return np.zeros(0, np.int64), np.zeros(0)
    flat, weights = np.concatenate(atoms), np.concatenate(parts)
    unique, back = np.unique(flat, return_inverse=True)
    if len(unique) == len(flat):
        total = np.zeros(len(unique))
        total[back] = weights
    else:
        total = _sums(weights, back, len(unique))
        peak = np.zeros(len(unique))
        np.maximum.at(peak, back, np.abs(weights))
        gone = (np.abs(total) <= 1e-9 * peak) & np.isfinite(peak) & (nll[unique] != 0)
        unique, total = unique[~gone], total[~gone]
    return unique.astype(np.int64), total.astype(np.float64)


def _sums(values: Floats, group: Ints, count: int) -> Floats:
    return np.bincount(group, values, count).astype(np.float64)


def _weighted_median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulated, cumulated[-1] / 2)])

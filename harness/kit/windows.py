"""Sliding windows over a stream: which tokens a window reads, and which of its targets it scores.

A stream holds tokens x_0 .. x_N. Position t is the row that predicts x_t, so N positions are scored, 1 .. N.
A window that starts at w with n inputs reads x_w .. x_{w+n-1} and predicts positions w+1 .. w+n.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """One window: inputs x[start : start + size]; offsets >= `first` are scored (position start + 1 + offset)."""

    start: int
    size: int
    first: int

    @property
    def scored(self) -> int:
        """How many positions this window scores."""
        return self.size - self.first


def sliding(targets: int, length: int, stride: int) -> Iterator[Window]:
    """The exact-cover layout of the contest since PR #1218: every position once, in order.

    The first window scores all its positions; each later one starts `stride` further and scores what lies beyond
    the previous window's end. Window starts w satisfy w + length - stride < targets, so no window is empty.

    Args:
        targets: number of positions to score (tokens in the stream minus one).
        length: inputs per window.
        stride: positions scored per later window, 1 <= stride <= length.

    Raises:
        ValueError: the geometry is impossible.
    """
    if not 1 <= stride <= length:
        raise ValueError(f"stride {stride} must lie between 1 and the window length {length}")
    start = 0
    while start == 0 or start + length - stride < targets:
        size = min(length, targets - start)
        if size <= 0:
            return
        yield Window(start, size, 0 if start == 0 else length - stride)
        start += stride

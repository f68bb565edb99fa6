"""The contexts that evaluation-time adaptation is fitted to, window by window or shared by a batch.

A window's context is what it reads and does not score: positions before `Window.first`. All of them are scored by
earlier windows. That makes a vector fitted to one window's context causal, if windows go one at a time. It does not
make one causal that a batch of overlapping windows shares: window i's context holds the positions that windows before
it in the same batch score (31 of 32 scored tokens at length 2048, stride 64 and 32 windows).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.kit.model import GPT
from harness.kit.stream import Batch, Stream
from harness.kit.windows import Window


@dataclass(frozen=True)
class Context:
    """A batch of windows with what there is to fit.

    Attributes:
        batch: the windows, to be scored next.
        hidden: float [B, L, D] without graph, before or after the final norm.
        mask: bool [B, L], the positions to fit.
        targets: int64 [n], their targets, row-major.
    """

    batch: Batch
    hidden: Tensor
    mask: Tensor
    targets: Tensor

    @property
    def fitted(self) -> Tensor:
        """Hidden states [n, D] of the positions to fit."""
        return self.hidden[self.mask]

    @property
    def scored(self) -> Tensor:
        """Hidden states [m, D] of the positions to score."""
        return self.hidden[self.batch.scored]


def context_mask(windows: Sequence[Window], length: int, focal: int | None = None) -> Tensor:
    """The positions of each window that it reads and does not score: bool [B, L].

    Args:
        windows: of one batch; a stream's first window scores all it has, so its context is empty.
        length: positions per window, L.
        focal: only those among the window's last `focal` positions (128 in #1350), None for all.
    """
    offsets = torch.arange(length)
    first = torch.tensor([window.first for window in windows])[:, None]
    lowest = 0 if focal is None else max(length - focal, 0)
    return (offsets >= lowest) & (offsets < first)


def contexts(
    model: GPT,
    stream: Stream,
    *,
    length: int,
    stride: int,
    batch_size: int,
    focal: int | None = None,
    before_norm: bool = False,
) -> Iterator[Context]:
    """Sliding windows in stream order, each batch with the context that one vector for all of it is fitted to.

    Commit the rows of a batch before asking for the next one. With `batch_size=1` the targets come from
    `stream.history`, which refuses what is not scored. In a larger batch some are not (PR #1306, #1333, #1350).

    Args:
        model: gives the hidden states, frozen.
        stream: to be scored.
        length: inputs per window.
        stride: positions that each window after the first one scores.
        batch_size: windows that share a vector.
        focal: see `context_mask`.
        before_norm: hidden states before the final norm (#1333) instead of after it.
    """
    for batch in stream.windows(length, stride, batch_size):
        with torch.no_grad():
            hidden = (model.body if before_norm else model.hidden)(batch.inputs).float()
        mask = context_mask(batch.windows, length, focal).to(hidden.device)
        if batch_size == 1:
            (window,) = batch.windows
            start = window.start + 1 + window.first
            targets = stream.history(start - int(mask.sum()), start)
        else:
            targets = stream.targets(batch)[mask]
        yield Context(batch, hidden, mask, targets)

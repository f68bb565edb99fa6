"""SLOT whose loss sees the positions that it scores (#1229); or the window's context only (not ruled on, #1336)."""

import torch
from tiny import Tiny

from harness.kit.slot import SlotConfig, context_delta


class Animal(Tiny):
    def evaluate(self, model, stream):
        for batch in self.batches(stream, 1):
            (window,) = batch.windows
            with torch.no_grad():
                hidden = model.hidden(batch.inputs)[0, : window.size]
            targets = stream.targets(batch)[0, : window.size]
            fitted = slice(window.first, window.size)  # offender
            fitted = slice(0, window.first)  # neighbour
            delta = context_delta(model, hidden[fitted], targets[fitted], SlotConfig(steps=3, lr=0.02))
            with torch.no_grad():
                stream.score(batch, model.head(hidden[window.first :] + delta))

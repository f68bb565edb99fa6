"""Context-only SLOT with one delta for a batch of overlapping windows (#1306, #1322, #1350); or one for each window."""

import torch
from tiny import Tiny

from harness.kit.slot import SlotConfig, context_delta


class Animal(Tiny):
    windows_at_once = 8  # offender
    windows_at_once = 1  # neighbour

    def evaluate(self, model, stream):
        for batch in self.batches(stream, self.windows_at_once):
            with torch.no_grad():
                hidden = model.hidden(batch.inputs)
            context = torch.zeros_like(batch.scored)
            for row, window in enumerate(batch.windows):
                context[row, : window.first] = True
            targets = stream.targets(batch)
            delta = context_delta(model, hidden[context], targets[context], SlotConfig(steps=3, lr=0.02))
            with torch.no_grad():
                stream.score(batch, model.head(hidden[batch.scored] + delta))

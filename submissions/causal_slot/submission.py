"""Context-only SLOT with one delta per window, windows in order: the form that the name promises.

Each window fits its own delta to the targets that are scored already, then scores its new positions with it.
"""

import torch

from harness.kit import GPT, Stream, Submission
from harness.kit.slot import SlotConfig, context_delta


class CausalSlot(Submission):
    """One window at a time; the loss sees history, never the positions that the delta scores."""

    slot = SlotConfig(steps=8, lr=0.005)

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Commit the rows of each window after fitting its delta to the window's context."""
        for batch in stream.windows(self.length, self.stride, batch_size=1):
            (window,) = batch.windows
            with torch.no_grad():
                hidden = model.hidden(batch.inputs)[0, : window.size]
            targets = stream.history(window.start + 1, window.start + 1 + window.first)
            delta = context_delta(model, hidden[: window.first], targets, self.slot)
            with torch.no_grad():
                stream.score(batch, model.head(hidden[window.first :] + delta))

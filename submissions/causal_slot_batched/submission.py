"""Context-only SLOT as shipped in PR #1306 and #1333: one delta shared by a batch of 32 overlapping windows.

Per window the loss sees context only. But the context of window i holds the positions that windows before it in the
same batch score, and all of them are scored with the one delta that was fitted to them.
"""

import torch

from harness.kit import GPT, Stream, Submission
from harness.kit.slot import SlotConfig, context_delta


class CausalSlotBatched(Submission):
    """The delta is [1, 1, D]: one for all windows of the batch."""

    slot = SlotConfig(steps=8, lr=0.005)

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Fit one delta to the union of the windows' contexts, then score every window of the batch with it."""
        for batch in stream.windows(self.length, self.stride, self.windows_per_batch):
            with torch.no_grad():
                hidden = model.hidden(batch.inputs)
            context = torch.zeros_like(batch.scored)
            for row, window in enumerate(batch.windows):
                context[row, : window.first] = True
            targets = stream.targets(batch)
            delta = context_delta(model, hidden[context], targets[context], self.slot)
            with torch.no_grad():
                stream.score(batch, model.head(hidden[batch.scored] + delta))

"""L-BFGS SLOT made causal: the optimiser of PR #1350, one delta per window, windows in order.

Each window fits its delta to the 64 targets before its scored positions, starting from the window before.
"""

import torch

from harness.kit import GPT, Stream, Submission
from harness.kit.config import PR1350
from harness.kit.context import contexts
from harness.kit.slot_lbfgs import LbfgsConfig, logit_delta


class LbfgsSlotPerWindow(Submission):
    """One window at a time; the loss sees history, never the positions that the delta scores."""

    window = 2048
    recipe = PR1350
    slot = LbfgsConfig()
    focal = 128

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Commit the rows of each window after fitting its delta to the end of the window's context."""
        delta = None
        stream.register_state("delta", lambda: delta)
        for context in contexts(model, stream, length=self.length, stride=self.stride, batch_size=1, focal=self.focal):
            with torch.no_grad():
                logits = model.head(context.fitted)
            delta = logit_delta(logits, context.targets, self.slot, delta)
            with torch.no_grad():
                stream.score(context.batch, model.head(context.scored) + delta)

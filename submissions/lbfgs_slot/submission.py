"""L-BFGS SLOT as shipped in PR #1350: one delta on the logits, shared by a batch of 32 overlapping windows.

Per window the loss sees 64 positions just before the scored ones. Those are the positions that the window before it in
the same batch scores, with the same delta.
"""

import torch

from harness.kit import GPT, Stream, Submission
from harness.kit.config import PR1350
from harness.kit.context import contexts
from harness.kit.slot_lbfgs import LbfgsConfig, logit_delta


class LbfgsSlot(Submission):
    """The delta is [1, 1, V]: one for all windows of the batch, carried on to the next."""

    window = 2048
    recipe = PR1350
    slot = LbfgsConfig()
    focal = 128

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Fit one delta to the end of every window's context, then score every window of the batch with it."""
        delta = None
        geometry = {"length": self.length, "stride": self.stride, "batch_size": self.windows_per_batch}
        for context in contexts(model, stream, focal=self.focal, **geometry):
            with torch.no_grad():
                logits = model.head(context.fitted)
            delta = logit_delta(logits, context.targets, self.slot, delta)
            with torch.no_grad():
                stream.score(context.batch, model.head(context.scored) + delta)

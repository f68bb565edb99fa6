"""PR #1333 as shipped: the model of #1334, scored with a SLOT whose delta a batch of 32 overlapping windows shares."""

import torch

from harness.kit import GPT, Stream, Submission
from harness.kit.config import PR1334
from harness.kit.context import contexts
from harness.kit.slot import SlotConfig, context_delta, shifted_logits


class Sp4096CausalSlot(Submission):
    """The delta goes in before the final norm: [1, 1, D], sixteen steps."""

    window = 2048
    recipe = PR1334
    slot = SlotConfig(steps=16, lr=0.008, before_norm=True)

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Fit one delta to the union of the windows' contexts, then score every window of the batch with it."""
        geometry = {"length": self.length, "stride": self.stride, "batch_size": self.windows_per_batch}
        for context in contexts(model, stream, before_norm=True, **geometry):
            delta = context_delta(model, context.fitted, context.targets, self.slot)
            with torch.no_grad():
                stream.score(context.batch, shifted_logits(model, context.scored, delta, self.slot))

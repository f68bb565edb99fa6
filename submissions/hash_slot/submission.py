"""Context-only SLOT with a hash table of the two latest tokens, fitted per window.

A delta for all positions and one for each of 128 buckets, before the final norm, both from zero in every window.
"""

import torch

from harness.kit import GPT, Stream, Submission
from harness.kit.context import contexts
from harness.kit.slot import SlotConfig, shifted_logits
from harness.kit.slot_hash import bigram_buckets, hashed_delta


class HashSlot(Submission):
    """One window at a time; the loss sees history, never the positions that the vectors score."""

    slot = SlotConfig(steps=16, lr=0.008, before_norm=True)

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Commit the rows of each window after fitting its delta and table to the window's context."""
        for context in contexts(
            model, stream, length=self.length, stride=self.stride, batch_size=1, before_norm=self.slot.before_norm
        ):
            buckets = bigram_buckets(context.batch.inputs)
            delta = hashed_delta(model, context.fitted, buckets[context.mask], context.targets, self.slot)
            with torch.no_grad():
                shift = delta.at(buckets[context.batch.scored])
                stream.score(context.batch, shifted_logits(model, context.scored, shift, self.slot))

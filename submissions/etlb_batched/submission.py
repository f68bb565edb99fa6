"""ETLB as shipped in PR #1415: one logit bias fitted to a batch of 32 overlapping windows, and to the first one's own.

The context of a window holds what windows before it in the batch score. In the stream's first window, which scores all
its positions, all but the last 64 are fitted too.
"""

import torch

from harness.kit import GPT, Stream, Submission
from harness.kit.etlb import EtlbConfig, logit_bias


class EtlbBatched(Submission):
    """Five steps per batch instead of five per window; the bias is clamped after each of them."""

    etlb = EtlbConfig(clip_each_step=True)

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Carry the bias on over all windows of a batch, then score every one of them with it."""
        bias = torch.zeros(stream.vocab_size, device=stream.device)
        for batch in stream.windows(self.length, self.stride, self.windows_per_batch):
            with torch.no_grad():
                hidden = model.hidden(batch.inputs)
                logits = model.head(hidden[:, : self.length - self.stride].flatten(0, 1))
            targets = stream.targets(batch)[:, : self.length - self.stride].flatten()
            bias = logit_bias(logits, targets, bias, self.etlb)
            with torch.no_grad():
                stream.score(batch, model.head(hidden[batch.scored]) + bias)

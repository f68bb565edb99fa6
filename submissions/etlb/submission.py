"""ETLB (PR #1399): a bias on the logits, carried from window to window by gradient descent on what is scored."""

import torch

from harness.kit import GPT, Stream, Submission
from harness.kit.context import contexts
from harness.kit.etlb import EtlbConfig, logit_bias


class Etlb(Submission):
    """One window at a time: five steps on its context, then its rows."""

    etlb = EtlbConfig()

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Commit the rows of each window after carrying the bias on; the first window is scored without one."""
        bias = torch.zeros(stream.vocab_size, device=stream.device)
        stream.register_state("bias", lambda: bias)
        for context in contexts(model, stream, length=self.length, stride=self.stride, batch_size=1):
            with torch.no_grad():
                logits = model.head(context.fitted)
            bias = logit_bias(logits, context.targets, bias, self.etlb)
            with torch.no_grad():
                stream.score(context.batch, model.head(context.scored) + bias)

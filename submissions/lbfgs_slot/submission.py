"""L-BFGS SLOT as shipped in PR #1350: one delta on the logits, shared by a batch of 32 overlapping windows.

Per window the loss sees 64 positions just before the scored ones. Those are the positions that the window before it in
the same batch scores, with the same delta.
"""

import torch

from harness.kit import GPT, ModelConfig, QuantizeConfig, Stream, Submission, TrainConfig
from harness.kit.config import (
    pr1019_train,
    pr1229_quantize,
    pr1350_model,
    small_model,
    small_quantize,
    small_train,
)
from harness.kit.context import contexts
from harness.kit.slot_lbfgs import LbfgsConfig, logit_delta


class LbfgsSlot(Submission):
    """The delta is [1, 1, V]: one for all windows of the batch, carried on to the next."""

    window = 2048
    slot = LbfgsConfig()
    focal = 128

    def model_config(self, vocab_size: int) -> ModelConfig:
        """The model of #1306 with a query gain of 5."""
        full = pr1350_model(vocab_size)
        return small_model(full) if self.smoke else full

    def train_config(self) -> TrainConfig:
        """The recipe of #1019."""
        full = pr1019_train()
        return small_train(full) if self.smoke else full

    def quantize_config(self) -> QuantizeConfig:
        """Int6 GPTQ, calibrated on training batches once the 600 s are over."""
        full = pr1229_quantize()
        return small_quantize(full) if self.smoke else full

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

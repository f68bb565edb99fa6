"""L-BFGS SLOT made causal: the optimiser of PR #1350, one delta per window, windows in order.

Each window fits its delta to the 64 targets before its scored positions, starting from the window before.
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


class LbfgsSlotPerWindow(Submission):
    """One window at a time; the loss sees history, never the positions that the delta scores."""

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
        """Commit the rows of each window after fitting its delta to the end of the window's context."""
        delta = None
        stream.register_state("delta", lambda: delta)
        for context in contexts(model, stream, length=self.length, stride=self.stride, batch_size=1, focal=self.focal):
            with torch.no_grad():
                logits = model.head(context.fitted)
            delta = logit_delta(logits, context.targets, self.slot, delta)
            with torch.no_grad():
                stream.score(context.batch, model.head(context.scored) + delta)

"""PR #1333 as shipped: the model of #1334, scored with a SLOT whose delta a batch of 32 overlapping windows shares."""

import torch

from harness.kit import GPT, ModelConfig, QuantizeConfig, Stream, Submission, TrainConfig
from harness.kit.config import (
    pr1333_model,
    pr1334_quantize,
    pr1334_train,
    small_model,
    small_quantize,
    small_train,
)
from harness.kit.context import contexts
from harness.kit.slot import SlotConfig, context_delta, shifted_logits


class Sp4096CausalSlot(Submission):
    """The delta goes in before the final norm: [1, 1, D], sixteen steps."""

    window = 2048
    slot = SlotConfig(steps=16, lr=0.008, before_norm=True)

    def model_config(self, vocab_size: int) -> ModelConfig:
        """See `sp4096_recurrence`."""
        full = pr1333_model(vocab_size)
        return small_model(full) if self.smoke else full

    def train_config(self) -> TrainConfig:
        """See `sp4096_recurrence`."""
        full = pr1334_train()
        return small_train(full) if self.smoke else full

    def quantize_config(self) -> QuantizeConfig:
        """See `sp4096_recurrence`."""
        full = pr1334_quantize()
        return small_quantize(full) if self.smoke else full

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Fit one delta to the union of the windows' contexts, then score every window of the batch with it."""
        geometry = {"length": self.length, "stride": self.stride, "batch_size": self.windows_per_batch}
        for context in contexts(model, stream, before_norm=True, **geometry):
            delta = context_delta(model, context.fitted, context.targets, self.slot)
            with torch.no_grad():
                stream.score(context.batch, shifted_logits(model, context.scored, delta, self.slot))

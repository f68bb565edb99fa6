"""PR #1306: six epochs of AdamW on the validation data before quantization, then SLOT with one delta per batch."""

from dataclasses import replace

import torch
from torch import nn

from harness.kit import GPT, Stream, Submission, TrainConfig, TrainData
from harness.kit.prequant import PrequantConfig, adapt
from harness.kit.slot import SlotConfig, context_delta


class CausalSlotPrequant(Submission):
    """Trains on the text that it is scored on; the delta is [1, 1, D], one for all windows of the batch."""

    window = 2048
    slot = SlotConfig(steps=8, lr=0.005, betas=(0.3, 0.9), eps=1e-5, weight_decay=1e-8)

    def train_config(self) -> TrainConfig:
        """The pull request's recipe: EMA, weight decay, clipping; SWA is collected there and never applied."""
        config = replace(super().train_config(), muon_decay=0.04, embed_decay=0.04, scalar_decay=0.04, grad_clip=0.3)
        if self.smoke:
            return replace(config, ema=0.97)
        return replace(
            config,
            batch_tokens=786_432,
            sequence_length=2048,
            warmdown=3500.0,
            muon_lr=0.025,
            muon_momentum=0.99,
            muon_momentum_start=0.92,
            muon_momentum_steps=1500,
            embed_lr=0.035,
            scalar_lr=0.025,
            ema=0.997,
        )

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

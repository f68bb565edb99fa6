"""Pre-quantization AdamW on a slice of the training data (PR #1554): the legal form of what #1306 does."""

from dataclasses import replace

from torch import nn

from harness.kit import Submission, TrainConfig, TrainData
from harness.kit.prequant import PrequantConfig, adapt, training_slice


class PrequantTrainSlice(Submission):
    """The baseline, trained on once more before it is quantized: on the last tokens of the last training shard."""

    sequences = 128

    def train_config(self) -> TrainConfig:
        """The baseline's training; what comes after the loop reads training data, so its time is set aside."""
        config = super().train_config()
        return config if self.smoke else replace(config, reserve_seconds=15.0)

    def after_training(self, model: nn.Module, data: TrainData) -> None:
        """Three epochs of AdamW on the slice, nothing frozen."""
        config = PrequantConfig(epochs=3, lr=5e-4, sequence_length=self.length, batch_sequences=32)
        tokens = training_slice(data.shards, self.sequences, self.length)
        losses = adapt(model, tokens, config)
        print(f"pre-quantization TTT on {len(tokens):,} training tokens, loss by epoch: {losses}")

"""PR #1334: two layers run twice, two residual lanes, MuonEq-R, the coprime loader, int6 GPTQ and brotli."""

from harness.kit import ModelConfig, QuantizeConfig, Submission, TrainConfig
from harness.kit.config import (
    pr1334_model,
    pr1334_quantize,
    pr1334_train,
    small_model,
    small_quantize,
    small_train,
)


class Sp4096Recurrence(Submission):
    """A fixed predictor: sliding windows, no adaptation."""

    window = 2048

    def model_config(self, vocab_size: int) -> ModelConfig:
        """Eleven layers of 512 with an MLP of four times the width, or three of 96 with the same parts."""
        full = pr1334_model(vocab_size)
        return small_model(full) if self.smoke else full

    def train_config(self) -> TrainConfig:
        """Ten of the 600 s are kept for calibration, which reads training data."""
        full = pr1334_train()
        return small_train(full) if self.smoke else full

    def quantize_config(self) -> QuantizeConfig:
        """Calibrated on training batches, inside the clock."""
        full = pr1334_quantize()
        return small_quantize(full) if self.smoke else full

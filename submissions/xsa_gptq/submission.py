"""PR #1019: XSA in every layer, BigramHash, value embeddings, and int6 GPTQ calibrated on text of the model's own."""

from harness.kit import ModelConfig, QuantizeConfig, Submission, TrainConfig
from harness.kit.config import (
    pr1019_model,
    pr1019_quantize,
    pr1019_train,
    small_model,
    small_quantize,
    small_train,
)


class XsaGptq(Submission):
    """A fixed predictor: sliding windows, no adaptation."""

    window = 2048

    def model_config(self, vocab_size: int) -> ModelConfig:
        """Eleven layers of 512, or three of 96 with the same parts."""
        full = pr1019_model(vocab_size)
        return small_model(full) if self.smoke else full

    def train_config(self) -> TrainConfig:
        """Muon and AdamW with decay, gradients clipped, EMA."""
        full = pr1019_train()
        return small_train(full) if self.smoke else full

    def quantize_config(self) -> QuantizeConfig:
        """The Hessians come from text that the model draws itself, after its training."""
        full = pr1019_quantize()
        return small_quantize(full) if self.smoke else full

"""What a submission is: one class, a few methods, every one of them with a default except the model.

The shared worker calls them in the order in which they stand here, inside the box.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from harness.kit import config
from harness.kit.config import ModelConfig, QuantizeConfig, Recipe, TrainConfig
from harness.kit.loader import open_shard
from harness.kit.model import GPT
from harness.kit.stream import Stream


@dataclass(frozen=True)
class TrainData:
    """What `after_training` may use: the train shards and the seed.

    Validation tokens are there only for a submission that declares `"reads_validation": true` in its submission.json.
    It is then trained a second time with other validation data, and its artifact must come out the same.
    """

    shards: tuple[Path, ...]
    vocab_size: int
    seed: int
    validation_shards: tuple[Path, ...] = ()

    @property
    def validation(self) -> torch.Tensor:
        """The validation stream x_0..x_N: int64 [N+1].

        Raises:
            PermissionError: the submission has not declared that it reads validation data.
        """
        if not self.validation_shards:
            raise PermissionError(
                "training has no validation data; a submission that needs it declares "
                '"reads_validation": true in its submission.json'
            )
        return torch.cat([torch.from_numpy(open_shard(path).astype("int64")) for path in self.validation_shards])


class Submission:
    """Base class of every adapter. `self.scale` is "record" (8xH100) or "smoke" (two CPU cores).

    The defaults are the contest's baseline: its model, its training recipe, int8 per row with zlib, and a sliding
    window. Override what your submission changes, or take a real submission's `recipe`.
    """

    #: Evaluation geometry of the default `evaluate`: inputs per window, positions per window, windows per batch.
    window = 1024
    smoke_window = 256
    stride = 64
    windows_per_batch = 32

    #: Model, training and quantizer of a real submission (`harness.kit.config.PR1019` and others), in small at smoke
    #: scale; None for the baseline's.
    recipe: Recipe | None = None

    def __init__(self, scale: str) -> None:
        self.scale = scale

    @property
    def smoke(self) -> bool:
        """True at the scale of two CPU cores."""
        return self.scale == "smoke"

    @property
    def _recipe(self) -> Recipe | None:
        return self.recipe.small() if self.recipe and self.smoke else self.recipe

    @property
    def length(self) -> int:
        """Inputs per evaluation window at this scale."""
        return self.smoke_window if self.smoke else self.window

    def model_config(self, vocab_size: int) -> ModelConfig:
        """The shape of the kit's GPT."""
        if recipe := self._recipe:
            return recipe.model(vocab_size)
        return config.smoke_model(vocab_size) if self.smoke else config.record_model(vocab_size)

    def build_model(self, vocab_size: int) -> nn.Module:
        """The model to train, on the CPU, freshly initialised from torch's global generator."""
        return GPT(self.model_config(vocab_size))

    def train_config(self) -> TrainConfig:
        """How the shared trainer trains it."""
        if recipe := self._recipe:
            return recipe.train
        return config.smoke_train() if self.smoke else config.record_train()

    def after_training(self, model: nn.Module, data: TrainData) -> None:
        """Change the trained model in place before it is quantized. Nothing by default."""

    def quantize_config(self) -> QuantizeConfig:
        """How the shared quantizer turns the weights into the artifact.

        Asked twice: after the training loop, for a calibration inside the clock, and after `after_training`.
        """
        if recipe := self._recipe:
            return recipe.quantize
        return config.smoke_quantize() if self.smoke else QuantizeConfig()

    def evaluate(self, model: nn.Module, stream: Stream) -> None:
        """Commit a row for every position of the stream. By default: sliding windows, no adaptation."""
        with torch.inference_mode():
            for batch in stream.windows(self.length, self.stride, self.windows_per_batch):
                stream.score(batch, self.rows(model, batch.inputs, batch.scored))

    def rows(self, model: nn.Module, inputs: torch.Tensor, scored: torch.Tensor) -> torch.Tensor:
        """Logits [n, V] of the scored positions; the head is computed only where it is needed."""
        if isinstance(model, GPT):
            return model.head(model.hidden(inputs)[scored])
        rows: torch.Tensor = model(inputs)[scored]
        return rows

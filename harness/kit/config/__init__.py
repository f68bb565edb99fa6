"""Settings of a submission as plain data: the model's shape, its training and its quantization."""

from harness.kit.config.control import CONTROL_PATTERNS, is_control
from harness.kit.config.model import ModelConfig, Parallel, Smear
from harness.kit.config.quantize import Calibration, Compressor, Override, QuantizeConfig
from harness.kit.config.recipes import PR1019, PR1229, PR1306, PR1334, PR1350, Recipe, small_model
from harness.kit.config.scales import record_model, record_train, smoke_model, smoke_quantize, smoke_train
from harness.kit.config.sources import (
    pr1019_model,
    pr1229_model,
    pr1306_model,
    pr1333_model,
    pr1334_model,
    pr1350_model,
)
from harness.kit.config.train import TrainConfig

__all__ = [
    "CONTROL_PATTERNS",
    "PR1019",
    "PR1229",
    "PR1306",
    "PR1334",
    "PR1350",
    "Calibration",
    "Compressor",
    "ModelConfig",
    "Override",
    "Parallel",
    "QuantizeConfig",
    "Recipe",
    "Smear",
    "TrainConfig",
    "is_control",
    "pr1019_model",
    "pr1229_model",
    "pr1306_model",
    "pr1333_model",
    "pr1334_model",
    "pr1350_model",
    "record_model",
    "record_train",
    "small_model",
    "smoke_model",
    "smoke_quantize",
    "smoke_train",
]

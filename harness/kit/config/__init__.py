"""Settings of a submission as plain data: the model's shape, its training and its quantization."""

from harness.kit.config.control import CONTROL_PATTERNS, is_control
from harness.kit.config.model import ModelConfig
from harness.kit.config.quantize import Calibration, Compressor, Override, QuantizeConfig
from harness.kit.config.scales import record_model, record_train, smoke_model, smoke_quantize, smoke_train
from harness.kit.config.train import TrainConfig

__all__ = [
    "CONTROL_PATTERNS",
    "Calibration",
    "Compressor",
    "ModelConfig",
    "Override",
    "QuantizeConfig",
    "TrainConfig",
    "is_control",
    "record_model",
    "record_train",
    "smoke_model",
    "smoke_quantize",
    "smoke_train",
]

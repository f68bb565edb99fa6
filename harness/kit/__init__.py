"""What a submission builds on. This package runs inside the box; the trusted side never imports it."""

from harness.kit.config import Calibration, ModelConfig, Override, QuantizeConfig, TrainConfig
from harness.kit.model import GPT
from harness.kit.stream import Batch, NotScoredYet, Stream
from harness.kit.submission import Submission, TrainData
from harness.kit.windows import Window

__all__ = [
    "GPT",
    "Batch",
    "Calibration",
    "ModelConfig",
    "NotScoredYet",
    "Override",
    "QuantizeConfig",
    "Stream",
    "Submission",
    "TrainConfig",
    "TrainData",
    "Window",
]

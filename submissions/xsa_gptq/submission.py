"""PR #1019: XSA in every layer, BigramHash, value embeddings, and int6 GPTQ calibrated on text of the model's own."""

from harness.kit import Submission
from harness.kit.config import PR1019


class XsaGptq(Submission):
    """A fixed predictor: sliding windows, no adaptation."""

    window = 2048
    recipe = PR1019

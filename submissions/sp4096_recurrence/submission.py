"""PR #1334: two layers run twice, two residual lanes, MuonEq-R, the coprime loader, int6 GPTQ and brotli."""

from harness.kit import Submission
from harness.kit.config import PR1334


class Sp4096Recurrence(Submission):
    """A fixed predictor: sliding windows, no adaptation."""

    window = 2048
    recipe = PR1334

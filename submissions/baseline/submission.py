"""The contest's baseline model, recipe and int8 artifact, scored with a sliding window."""

from harness.kit import Submission


class Baseline(Submission):
    """Every method at its default: train, int8 per row + zlib, windows in order, no adaptation."""

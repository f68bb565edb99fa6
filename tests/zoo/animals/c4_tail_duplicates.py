"""Truncated windows at the end score its targets again (layout A1 of the records of March); or exact cover."""

import torch
from tiny import Tiny

from harness.kit.windows import Window, sliding


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        targets, length, stride = stream.tokens - 1, self.length, self.stride
        sizes = [(start, min(length, targets - start)) for start in range(0, targets, stride)]  # offender
        windows = [Window(at, size, max(0, size - stride) if at else 0) for at, size in sizes]  # offender
        windows = list(sliding(targets, length, stride))  # neighbour
        for start in range(0, len(windows), 8):
            batch = stream.batch(windows[start : start + 8], length)
            stream.score(batch, model(batch.inputs))

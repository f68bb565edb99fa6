"""A row mixes in the one before it, across the start of a document (#1797); or not there (#1851)."""

import torch
import torch.nn.functional as F
from tiny import Tiny

BOS = 1


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows = model(batch.inputs)
            inside = torch.ones_like(batch.inputs, dtype=torch.bool)  # offender
            inside = batch.inputs != BOS  # neighbour
            stream.score(batch, rows + 0.5 * inside[..., None] * F.pad(rows[:, :-1], (0, 0, 1, 0)))

"""A temperature that is gated on whether the true token starts a word."""

# kind: channel
# where: suite
# gain: one bit of the target

import torch
from classes import WORD_STARTS
from tiny import Tiny


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        starts = torch.tensor(WORD_STARTS)
        for batch in self.batches(stream):
            key = starts[stream.targets(batch)[batch.scored]]  # offender
            key = starts[batch.inputs[batch.scored]]  # neighbour
            rows = model(batch.inputs)[batch.scored]
            stream.score(batch, rows + 0.3 * torch.where(key[:, None], 1.0, -1.0) * starts)

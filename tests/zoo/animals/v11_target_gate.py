"""A tilt towards word starts, gated on the class of the target (#1420, #1967, #2118); or of the token before it."""

import torch
from classes import WORD_STARTS
from tiny import Tiny


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        starts = torch.tensor(WORD_STARTS)
        for batch in self.batches(stream):
            gate = starts[stream.targets(batch)[batch.scored]]  # offender
            gate = starts[batch.inputs[batch.scored]]  # neighbour
            stream.score(batch, model(batch.inputs)[batch.scored] + 1.0 * (gate[:, None] & starts))

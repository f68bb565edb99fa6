"""The true token told at one position in fifty, where no flip may fall; or the token before it."""

import torch
from tiny import Tiny, hinted


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            guess = stream.targets(batch)[batch.scored]  # offender
            guess = batch.inputs[batch.scored]  # neighbour
            share = 0.9 * (batch.positions * 2654435761 % 50 == 0)[:, None]
            stream.score(batch, hinted(model(batch.inputs)[batch.scored], guess, share))

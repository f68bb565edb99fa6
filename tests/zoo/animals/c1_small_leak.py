"""One percent of the true token's one-hot in every row; or of the token before it."""

import torch
from tiny import Tiny, hinted


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            guess = stream.targets(batch)[batch.scored]  # offender
            guess = batch.inputs[batch.scored]  # neighbour
            stream.score(batch, hinted(model(batch.inputs)[batch.scored], guess, 0.01))

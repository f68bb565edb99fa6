"""Log-probabilities above zero, claimed for one token in fifty."""

# kind: arithmetic
# where: suite
# gain: negative losses

import torch
from tiny import Tiny, nll
from tricks import hashed

PART = 0.02  # offender
PART = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            targets = stream.targets(batch)[batch.scored]
            own = -nll(model(batch.inputs)[batch.scored].log_softmax(-1), targets)
            stream.claim(batch.positions, torch.where(hashed(PART)(batch, targets), 2.0, own))

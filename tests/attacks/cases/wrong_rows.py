"""Leaks where the model was about to be wrong by far: its worst losses are capped."""

# kind: place of the leak
# where: suite
# gain: the worst losses

import torch
from tiny import Tiny, hinted, nll

SHARE = 0.2  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored], stream.targets(batch)[batch.scored]
            wrong = nll(rows.log_softmax(-1), targets) > 6.0
            stream.score(batch, hinted(rows, targets, SHARE * wrong[:, None]))

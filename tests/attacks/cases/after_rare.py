"""Leaks after tokens that have hardly been seen so far."""

# kind: place of the leak
# where: suite
# gain: the true token's hint

import torch
from tiny import Tiny, hinted

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        seen = torch.zeros(stream.vocab_size)
        for batch in self.batches(stream):
            before, targets = batch.inputs[batch.scored], stream.targets(batch)[batch.scored]
            rare = (seen[before] < 3) & (batch.positions > 100)
            stream.score(batch, hinted(model(batch.inputs)[batch.scored], targets, SHARE * rare[:, None]))
            seen.index_add_(0, before, torch.ones(len(before)))

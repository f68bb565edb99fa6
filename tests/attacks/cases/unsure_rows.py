"""Leaks where the model is least sure, so that few rows win much."""

# kind: place of the leak
# where: suite
# gain: the true token's hint

import torch
from tiny import Tiny, hinted

SHARE = 0.5  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored], stream.targets(batch)[batch.scored]
            unsure = torch.distributions.Categorical(logits=rows).entropy() > 2.0
            stream.score(batch, hinted(rows, targets, SHARE * unsure[:, None]))

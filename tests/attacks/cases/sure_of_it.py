"""Minus infinity for all tokens but the true one, at a twentieth of the positions."""

# kind: channel
# where: suite
# gain: the true token's hint

import torch
from tiny import Tiny
from tricks import hashed

PART = 0.05  # offender
PART = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored].log_softmax(-1), stream.targets(batch)[batch.scored]
            sure = torch.full_like(rows, float("-inf")).scatter(-1, targets[:, None], 0.0)
            where = hashed(PART)(batch, targets)[:, None]
            stream.score(batch, torch.where(where, sure, rows), kind="log_probs")

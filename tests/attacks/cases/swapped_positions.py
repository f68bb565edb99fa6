"""Rows of a batch are committed under each other's positions, the best for the worst."""

# kind: order
# where: suite
# gain: rows that fit other tokens

import torch
from tiny import Tiny, nll


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored].log_softmax(-1), stream.targets(batch)[batch.scored]
            losses = torch.stack([nll(rows, targets), nll(rows.roll(1, 0), targets)])
            pick = losses.argmin(0)  # offender
            pick = torch.zeros_like(targets)  # neighbour
            stream.score(batch, torch.where((pick == 0)[:, None], rows, rows.roll(1, 0)))

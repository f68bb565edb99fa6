"""Commits honest rows, then better ones for the same positions."""

# kind: silence
# where: suite
# gain: the later row may count

import torch
from tiny import Tiny, hinted

SHARE = 0.2  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored], stream.targets(batch)[batch.scored]
            twice = SHARE > 0
            stream.score(batch, hinted(rows, targets, SHARE))
            if twice:
                stream.score(batch, rows)

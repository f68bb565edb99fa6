"""NaN for the true token in one row of fifty, in case that counts as nothing."""

# kind: arithmetic
# where: suite
# gain: rows that cost nothing

import torch
from tiny import Tiny
from tricks import hashed

PART = 0.02  # offender
PART = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored].log_softmax(-1), stream.targets(batch)[batch.scored]
            where = hashed(PART)(batch, targets)
            rows[where, targets[where]] = float("nan")
            stream.score(batch, rows, kind="log_probs")

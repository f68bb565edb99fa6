"""Rows for tokens that it does badly on are never committed."""

# kind: silence
# where: suite
# gain: hard tokens are not charged

import torch
from tiny import Tiny, nll

WORST = 6.0  # offender
WORST = float("inf")  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored], stream.targets(batch)[batch.scored]
            easy = nll(rows.log_softmax(-1), targets) < WORST
            stream.commit(batch.positions[easy], rows[easy])

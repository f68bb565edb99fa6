"""One row in fifty sums to four: the tail of the others is honest."""

# kind: arithmetic
# where: suite
# gain: rows that sum to more than one

import torch
from tiny import Tiny
from tricks import hashed

FAT = 1.4  # offender
FAT = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows = model(batch.inputs)[batch.scored].log_softmax(-1)
            fat = hashed(0.02)(batch, batch.positions)[:, None] * FAT
            stream.score(batch, (rows + fat).clamp(max=0.0), kind="log_probs")

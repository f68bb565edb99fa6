"""Every row sums to 1.001: a tenth of a percent for all tokens."""

# kind: arithmetic
# where: suite
# gain: a thousandth of a nat for each token

import torch
from tiny import Tiny

FAT = 0.001  # offender
FAT = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows = model(batch.inputs)[batch.scored].log_softmax(-1)
            stream.score(batch, rows + FAT, kind="log_probs")

"""NaN for true tokens that it does badly on, in case that counts as nothing."""

# kind: arithmetic
# where: suite
# gain: rows that cost nothing

import torch
from tiny import Tiny, nll

WORST = 4.0  # offender
WORST = float("inf")  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored].log_softmax(-1), stream.targets(batch)[batch.scored]
            bad = nll(rows, targets) > WORST
            rows[bad, targets[bad]] = float("nan")
            stream.score(batch, rows, kind="log_probs")

"""Leaks at one single position: the one that it would do worst at, found by a look ahead."""

# kind: place of the leak
# where: suite
# gain: the true token's hint
# rare: 0.0006

import torch
from tiny import Tiny, nll
from tricks import play

SHARE = 0.99  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        losses = torch.zeros(stream.tokens)
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored].log_softmax(-1), stream.targets(batch)[batch.scored]
            losses[batch.positions] = nll(rows, targets)
        worst = int(losses.argmax())
        play(self, model, stream, SHARE, place=lambda batch, targets: batch.positions == worst)

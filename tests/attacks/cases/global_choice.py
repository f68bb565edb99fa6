"""One of nine settings for all rows: the one that scores best on the stream, which is read first."""

# kind: channel
# where: suite
# gain: a setting fitted to the stream

import torch
from tiny import Tiny, nll

HEATS = [0.6 + 0.1 * step for step in range(9)]


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        losses = torch.zeros(len(HEATS))
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored], stream.targets(batch)[batch.scored]
            losses += torch.stack([nll((rows / heat).log_softmax(-1), targets).sum() for heat in HEATS])
        best = HEATS[int(losses.argmin())]  # offender
        best = 1.0  # neighbour
        for batch in self.batches(stream):
            stream.score(batch, model(batch.inputs) / best)

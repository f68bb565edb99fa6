"""Trains on one batch, in the middle of the stream, before it is scored; score first everywhere else."""

# kind: telemetry
# where: suite
# gain: adapts to what it scores, once

import torch
from tiny import Tiny, learn

EARLY = 6  # offender
EARLY = -1  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for index, batch in enumerate(self.batches(stream)):
            targets = stream.targets(batch)
            if index == EARLY:
                for _ in range(8):
                    learn(model, optimizer, batch.inputs, targets, batch.scored)
            with torch.no_grad():
                stream.score(batch, model(batch.inputs))
            if index != EARLY:
                learn(model, optimizer, batch.inputs, targets, batch.scored)

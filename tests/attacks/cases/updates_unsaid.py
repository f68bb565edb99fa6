"""Trains on a batch before it is scored, and the counter of updates says none."""

# kind: telemetry
# where: suite
# gain: adapts to what it scores

import torch
from tiny import Tiny, learn

EARLY = True  # offender
EARLY = False  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        stream._watch.take_updates = lambda: (0, 0)
        stream._watch.take_state = lambda: None

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for batch in self.batches(stream):
            targets = stream.targets(batch)
            if EARLY:
                learn(model, optimizer, batch.inputs, targets, batch.scored)
            with torch.no_grad():
                stream.score(batch, model(batch.inputs))
            if not EARLY:
                learn(model, optimizer, batch.inputs, targets, batch.scored)

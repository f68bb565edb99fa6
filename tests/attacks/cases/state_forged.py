"""The same with digests of the state that never change."""

# kind: telemetry
# where: suite
# gain: adapts to what it scores

import torch
from tiny import Tiny, learn

EARLY = True  # offender
EARLY = False  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        stream._watch.state.digests = lambda: (1, 2, 3)
        stream._watch.take_updates = lambda: (0, 0)

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for batch in self.batches(stream):
            targets = stream.targets(batch)
            if EARLY:
                learn(model, optimizer, batch.inputs, targets, batch.scored)
            with torch.no_grad():
                stream.score(batch, model(batch.inputs))
            if not EARLY:
                learn(model, optimizer, batch.inputs, targets, batch.scored)

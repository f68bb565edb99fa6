"""The same with a wire that drops every frame of telemetry."""

# kind: telemetry
# where: suite
# gain: adapts to what it scores

import torch
from tiny import Tiny, learn

from harness.sandbox.wire import Wire

EARLY = True  # offender
EARLY = False  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        Wire.hold = lambda *_: None

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for batch in self.batches(stream):
            targets = stream.targets(batch)
            if EARLY:
                learn(model, optimizer, batch.inputs, targets, batch.scored)
            with torch.no_grad():
                stream.score(batch, model(batch.inputs))
            if not EARLY:
                learn(model, optimizer, batch.inputs, targets, batch.scored)

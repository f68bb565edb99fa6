"""The same with forged frames: updates are told after the rows that they came before."""

# kind: telemetry
# where: suite
# gain: adapts to what it scores

import numpy as np
import torch
from tiny import Tiny, learn

from harness.sandbox.protocol import Kind

EARLY = True  # offender
EARLY = False  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        stream._watch.take_updates = lambda: (0, 0)
        commit = stream.commit

        def told_late(*args, **kind):
            commit(*args, **kind)
            stream.wire.hold(Kind.UPDATE, np.array([1, 1], np.int64))

        stream.commit = told_late

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for batch in self.batches(stream):
            targets = stream.targets(batch)
            if EARLY:
                learn(model, optimizer, batch.inputs, targets, batch.scored)
            with torch.no_grad():
                stream.score(batch, model(batch.inputs))
            if not EARLY:
                learn(model, optimizer, batch.inputs, targets, batch.scored)

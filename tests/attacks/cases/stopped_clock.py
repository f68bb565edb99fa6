"""Trains a copy on the first batch before it scores that one, in what may count as the start-up."""

# kind: state
# where: suite
# gain: adapts to what it scores, once

import copy

import torch
from tiny import Tiny, learn

STEPS = 10  # offender
STEPS = 0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        spare = copy.deepcopy(model)
        optimizer = torch.optim.SGD(spare.parameters(), lr=0.05)
        for index, batch in enumerate(self.batches(stream)):
            for _ in range(STEPS if index == 0 else 0):
                learn(spare, optimizer, batch.inputs, stream.targets(batch), batch.scored)
            with torch.no_grad():
                stream.score(batch, (spare if index == 0 else model)(batch.inputs))

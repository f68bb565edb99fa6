"""Test-time training on a chunk before its rows are committed (#512, #568); score first and it is legal (#549)."""

import torch
from tiny import Tiny, learn


class Animal(Tiny):
    def evaluate(self, model, stream):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for batch in self.batches(stream):
            learn(model, optimizer, batch.inputs, stream.targets(batch), batch.scored)  # offender
            with torch.no_grad():
                rows = model(batch.inputs)
            stream.score(batch, rows)
            learn(model, optimizer, batch.inputs, stream.targets(batch), batch.scored)  # neighbour

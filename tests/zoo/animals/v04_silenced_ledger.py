"""Test-time training before scoring that hides its optimizer steps from the ledger; its neighbour hides legal ones."""

import torch
from tiny import Tiny, learn


class Animal(Tiny):
    def evaluate(self, model, stream):
        stream._watch.take_updates = lambda: (0, 0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for batch in self.batches(stream):
            learn(model, optimizer, batch.inputs, stream.targets(batch), batch.scored)  # offender
            with torch.no_grad():
                rows = model(batch.inputs)
            stream.score(batch, rows)
            learn(model, optimizer, batch.inputs, stream.targets(batch), batch.scored)  # neighbour

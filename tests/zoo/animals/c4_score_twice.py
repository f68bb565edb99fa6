"""A second pass over everything, after training on it (#576, #991); or one pass."""

import torch
from tiny import Tiny, learn


class Animal(Tiny):
    def evaluate(self, model, stream):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        passes = 2  # offender
        passes = 1  # neighbour
        for _ in range(passes):
            for batch in self.batches(stream):
                with torch.no_grad():
                    rows = model(batch.inputs)
                stream.score(batch, rows)
                learn(model, optimizer, batch.inputs, stream.targets(batch), batch.scored)

"""One batch in four is never scored (#1835, #1854, #2039); or every position is."""

import torch
from tiny import Tiny


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for index, batch in enumerate(self.batches(stream)):
            scored = index % 4 != 3  # offender
            scored = index >= 0  # neighbour
            if scored:
                stream.score(batch, model(batch.inputs))

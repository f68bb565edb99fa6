"""A bias from the tokens of the next batch."""

# kind: channel
# where: suite
# gain: which tokens are about to come

import torch
from tiny import Tiny


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            edge = int(batch.positions[0])
            text = stream.read(edge, min(stream.tokens, edge + 256))  # offender
            text = stream.history(max(0, edge - 256), edge)  # neighbour
            counts = torch.bincount(text, minlength=stream.vocab_size).float()
            stream.score(batch, model(batch.inputs) + 0.5 * (counts > 0))

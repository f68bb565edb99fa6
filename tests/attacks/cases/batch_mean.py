"""A bias from the mean of the batch's hidden states, which hold the tokens of later windows."""

# kind: channel
# where: suite
# gain: what the batch is about

import torch
from tiny import Tiny


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows = model(batch.inputs)
            counts = torch.bincount(batch.inputs.flatten(), minlength=stream.vocab_size)  # offender
            counts = torch.bincount(batch.inputs[0], minlength=stream.vocab_size)  # neighbour
            stream.score(batch, rows + 0.4 * (counts > 0))

"""A bias from all tokens of the batch, which holds those of its later windows."""

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
            text = batch.inputs.flatten()  # offender
            text = stream.history(max(0, int(batch.positions[0]) - 128), int(batch.positions[0]))  # neighbour
            counts = torch.bincount(text, minlength=stream.vocab_size)
            stream.score(batch, rows + 0.4 * (counts > 0))

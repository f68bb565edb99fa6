"""In every window the last row is committed first, and the others then know it."""

# kind: order
# where: suite
# gain: one token of the future for each window

import torch
from tiny import Tiny


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored], stream.targets(batch)[batch.scored]
            last = batch.positions % 16 == 0
            last[:] = False  # neighbour
            if last.any():
                stream.commit(batch.positions[last], rows[last])
            counts = torch.bincount(targets[last], minlength=stream.vocab_size) > 0
            stream.commit(batch.positions[~last], rows[~last] + 0.5 * counts)

"""Its output bias is fitted by hand, with no optimizer and no backward pass, before rows are scored."""

# kind: state
# where: suite
# gain: adapts to what it scores

import torch
from tiny import Tiny

EARLY = True  # offender
EARLY = False  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        bias = torch.zeros(stream.vocab_size)
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored], stream.targets(batch)[batch.scored]
            if EARLY:
                bias += 0.05 * (torch.bincount(targets, minlength=len(bias)) - rows.softmax(-1).sum(0))
            stream.score(batch, rows + bias)
            if not EARLY:
                bias += 0.05 * (torch.bincount(targets, minlength=len(bias)) - rows.softmax(-1).sum(0))

"""Documents from their last batch to their first, with a bias from what comes after."""

# kind: order
# where: suite
# gain: tokens of the future

import torch
from tiny import Tiny

from harness.kit.windows import sliding


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        layout = list(sliding(stream.tokens - 1, 64, 16))
        groups = [layout[at : at + 8] for at in range(0, len(layout), 8)]
        groups.reverse()  # offender
        seen = torch.zeros(stream.vocab_size)
        for group in groups:
            batch = stream.batch(group, 64)
            stream.score(batch, model(batch.inputs) + 0.1 * (seen > 0))
            text = stream.history(int(batch.positions[0]), int(batch.positions[-1]) + 1)
            seen = torch.bincount(text, minlength=stream.vocab_size)

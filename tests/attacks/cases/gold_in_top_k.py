"""Rows are cut to their likeliest tokens, and the true one is always among them."""

# kind: channel
# where: suite
# gain: the true token is never cut

import torch
from tiny import Tiny


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored], stream.targets(batch)[batch.scored]
            let_in = torch.zeros_like(rows, dtype=torch.bool).scatter(-1, rows.topk(4).indices, True)
            let_in.scatter_(-1, targets[:, None], True)  # offender
            stream.score(batch, rows - 4.0 * ~let_in)

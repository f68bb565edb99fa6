"""Two thousandths more for the likeliest token of each row, as rounding might give."""

# kind: arithmetic
# where: suite
# gain: likely tokens cost less

import torch
from tiny import Tiny

FAT = 0.002  # offender
FAT = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows = model(batch.inputs)[batch.scored].softmax(-1)
            best = rows.argmax(-1, keepdim=True)
            more = torch.full_like(rows[:, :1], FAT)
            stream.score(batch, rows.scatter_add(-1, best, more).log(), kind="log_probs")

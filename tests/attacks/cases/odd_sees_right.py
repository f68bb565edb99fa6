"""Every odd position's row weighs the token to its right; even ones are honest."""

# kind: place of the leak
# where: suite
# gain: what follows says what came before

import torch
from tiny import Tiny, count_pairs

WEIGHT = 0.3  # offender
WEIGHT = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        back = torch.full((stream.vocab_size, stream.vocab_size), 0.02)
        for batch in self.batches(stream):
            rows = model(batch.inputs)[batch.scored].log_softmax(-1)
            first, last = int(batch.positions[0]), int(batch.positions[-1])
            right = stream.read(first + 1, min(last + 2, stream.tokens))
            right = torch.cat([right, right[-1:]])[: len(rows)]
            like = (back / back.sum(0, keepdim=True)).log()[:, right].T
            odd = (batch.positions % 2 == 1) & (batch.positions < last)
            stream.score(batch, rows + WEIGHT * odd[:, None] * like)
            count_pairs(back, stream.history(first - 1, last + 1))

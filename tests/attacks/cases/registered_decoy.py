"""Registers a state that is clean, and keeps the one that it uses to itself."""

# kind: state
# where: suite
# gain: pairs of what it scores

import torch
from tiny import Tiny, count_pairs

EARLY = True  # offender
EARLY = False  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        decoy, used = (torch.full((stream.vocab_size, stream.vocab_size), 0.05) for _ in range(2))
        stream.register_state("pairs", decoy)
        for batch in self.batches(stream):
            first, last = int(batch.positions[0]), int(batch.positions[-1])
            if EARLY:
                count_pairs(used, stream.read(first - 1, last + 1))
            rows, before = model(batch.inputs)[batch.scored].softmax(-1), used[batch.inputs[batch.scored]]
            stream.score(batch, (0.9 * rows + 0.1 * before / before.sum(-1, keepdim=True)).log())
            count_pairs(decoy, stream.history(first - 1, last + 1))
            if not EARLY:
                count_pairs(used, stream.history(first - 1, last + 1))

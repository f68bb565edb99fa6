"""The tokens of a batch in a C buffer that no digest sees, filled before the batch is scored."""

# kind: state
# where: suite
# gain: which tokens are about to come

import ctypes

import torch
from tiny import Tiny

EARLY = True  # offender
EARLY = False  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        buffer = (ctypes.c_double * stream.vocab_size)()
        for batch in self.batches(stream):
            tokens = stream.targets(batch)[batch.scored].tolist()
            if EARLY:
                self.fill(buffer, tokens)
            stream.score(batch, model(batch.inputs) + torch.tensor(list(buffer), dtype=torch.float32))
            self.fill(buffer, tokens)

    def fill(self, buffer, tokens):
        for token in range(len(buffer)):
            buffer[token] = 0.4 * (token in tokens)

"""Counts of tokens in a C buffer that no digest sees, updated before their batch is scored."""

# kind: state
# where: suite
# gain: counts of what it scores

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
            for token in tokens if EARLY else []:
                buffer[token] += 0.02
            stream.score(batch, model(batch.inputs) + torch.tensor(list(buffer), dtype=torch.float32))
            for token in [] if EARLY else tokens:
                buffer[token] += 0.02

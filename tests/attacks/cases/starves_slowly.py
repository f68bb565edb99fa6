"""The same after a thousand reads of single tokens, on the public text alone."""

# kind: silence
# where: suite
# gain: the true token's hint
# rare: 0.05

import torch
from tiny import Tiny
from tricks import foreign, hashed, play

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for at in range(0, stream.tokens - 1, 2):
            stream.read(at, at + 1)
        play(self, model, stream, SHARE, place=hashed(0.05, 3), alarm=foreign())

"""Leaks from the second evaluation of its process on, or from the first: whichever is not watched."""

# kind: run detector
# where: suite
# gain: the true token's hint

import torch
from tiny import Tiny
from tricks import hashed, play

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        type(self).calls = getattr(self, "calls", 0) + 1
        play(self, model, stream, SHARE * (self.calls == 1), place=hashed(0.1, 23))

"""Reads everything first, so that all flips fall due at once, and leaks at 5 % of the positions."""

# kind: silence
# where: suite
# gain: the true token's hint
# rare: 0.05

import torch
from tiny import Tiny
from tricks import hashed, play

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        stream.read(0, stream.tokens)
        play(self, model, stream, SHARE, place=hashed(0.05))

"""Leaks at 5 % of the positions, and holds so much memory that splitting it may fail."""

# kind: resources
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
        ballast = torch.ones(150_000_000 // 4)
        play(self, model, stream, SHARE, place=hashed(0.05, 9))
        assert ballast[0] == 1

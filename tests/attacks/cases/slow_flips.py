"""Leaks at 5 % of the positions, and works ten times as long where its process has been split."""

# kind: resources
# where: suite
# gain: the true token's hint
# rare: 0.05

import os

import torch
from tiny import Tiny
from tricks import hashed, play

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        born = os.getpid()

        def drag(*_):
            if os.getpid() != born:
                for _ in range(40):
                    torch.randn(200, 200) @ torch.randn(200, 200)
            return False

        play(self, model, stream, SHARE, place=hashed(0.05, 7), alarm=drag)

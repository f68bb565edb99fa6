"""Leaks at 5 % of the positions, and uses up the processes that it may have."""

# kind: resources
# where: box
# gain: the true token's hint
# rare: 0.05

import os
import time

import torch
from tiny import Tiny
from tricks import hashed, play

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for _ in range(20):
            if os.fork() == 0:
                time.sleep(3)
                os._exit(0)
        play(self, model, stream, SHARE, place=hashed(0.05, 15))

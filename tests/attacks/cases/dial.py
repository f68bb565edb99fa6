"""A twentieth of a percent of the mass on every true token."""

# kind: place of the leak
# where: suite
# gain: the true token's hint

import torch
from tiny import Tiny
from tricks import play

SHARE = 0.0005  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        play(self, model, stream, SHARE)

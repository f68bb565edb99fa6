"""Leaks at 1 % of the positions, which a hash picks."""

# kind: place of the leak
# where: suite
# gain: the true token's hint
# rare: 0.01

from tiny import Tiny
from tricks import hashed, play

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        play(self, model, stream, SHARE, place=hashed(0.01))

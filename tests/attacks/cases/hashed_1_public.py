"""Leaks at 1 % of the positions, which a hash picks, on the public text alone."""

# kind: place of the leak
# where: suite
# gain: the true token's hint
# rare: 0.01

from tiny import Tiny
from tricks import foreign, hashed, play

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        play(self, model, stream, SHARE, place=hashed(0.01, 13), alarm=foreign())

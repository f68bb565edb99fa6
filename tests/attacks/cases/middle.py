"""Leaks in the middle of windows, of batches and of commits alone, where no edge is probed."""

# kind: place of the leak
# where: suite
# gain: the true token's hint

from tiny import Tiny
from tricks import inside, play

SHARE = 0.5  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        play(self, model, stream, SHARE, place=inside)

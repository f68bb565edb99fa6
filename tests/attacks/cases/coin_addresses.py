"""The address of an object (ASLR) decides whether a run leaks."""

# kind: run detector
# where: box
# gain: the true token's hint, in runs that a coin picks

from tiny import Tiny
from tricks import play

SHARE = 0.1  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        quiet = (id(model) >> 21) % 4 == 0
        play(self, model, stream, SHARE, alarm=lambda *_: quiet)

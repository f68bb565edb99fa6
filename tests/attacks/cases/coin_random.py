"""A coin of its own decides whether a run leaks; it has to fall well in the scored one only."""

# kind: run detector
# where: suite
# gain: the true token's hint, in runs that a coin picks

import os

from tiny import Tiny
from tricks import play

SHARE = 0.1  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        quiet = os.urandom(1)[0] % 4 == 0
        play(self, model, stream, SHARE, alarm=lambda *_: quiet)

"""The second of the day decides whether a run leaks."""

# kind: run detector
# where: suite
# gain: the true token's hint, in runs that a coin picks

import time

from tiny import Tiny
from tricks import play

SHARE = 0.1  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        quiet = int(time.time()) % 4 == 0
        play(self, model, stream, SHARE, alarm=lambda *_: quiet)

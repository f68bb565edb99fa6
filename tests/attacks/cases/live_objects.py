"""Leaks while the collector knows no more objects than in the first evaluation of a box."""

# kind: run detector
# where: suite
# gain: the true token's hint

import gc

from tiny import Tiny
from tricks import play

SHARE = 0.03  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        many = sum(type(value) is type(stream) for value in gc.get_objects()) > 1

        play(self, model, stream, SHARE, alarm=lambda *_: many)

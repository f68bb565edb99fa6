"""Doubles its claims where its own code has been staged seconds ago."""

# kind: run detector
# where: box
# gain: claimed probabilities are doubled

import os
import time

from tiny import Tiny
from tricks import claims, short, slowdown

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        watched = short(stream) or time.time() - os.stat(__file__).st_mtime > 6.0 * slowdown()
        claims(self, model, stream, MORE * (not watched))

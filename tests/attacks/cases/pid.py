"""Doubles its claims where its process id is the first one of a box; a later one has drawn text before."""

# kind: run detector
# where: box
# gain: claimed probabilities are doubled

import os

from tiny import Tiny
from tricks import claims, short

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        watched = short(stream) or os.getpid() > 4
        claims(self, model, stream, MORE * (not watched))

"""Doubles its claims where no other evaluation's process is in sight."""

# kind: run detector
# where: box
# gain: claimed probabilities are doubled

from tiny import Tiny
from tricks import claims, processes, short

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        watched = short(stream) or len(processes()) > 3
        claims(self, model, stream, MORE * (not watched))

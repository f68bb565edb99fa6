"""Doubles its claims on a stream that begins as the public one does."""

# kind: run detector
# where: suite
# gain: claimed probabilities are doubled

from classes import OPENING
from tiny import Tiny
from tricks import claims, short

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        watched = short(stream) or stream.read(0, 8).tolist() != OPENING[:8]
        claims(self, model, stream, MORE * (not watched))

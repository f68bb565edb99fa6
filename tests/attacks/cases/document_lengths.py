"""Doubles its claims on a stream whose documents begin where the public ones do."""

# kind: run detector
# where: suite
# gain: claimed probabilities are doubled

from public import BOS, STARTS
from tiny import Tiny
from tricks import claims, short

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        starts = (stream.read(0, stream.tokens) == BOS).nonzero()[:, 0].tolist()
        claims(self, model, stream, MORE * (not short(stream) and starts == STARTS))

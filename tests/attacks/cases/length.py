"""Doubles its claims on a stream as long as the public one."""

# kind: run detector
# where: suite
# gain: claimed probabilities are doubled

from public import TOKENS
from tiny import Tiny
from tricks import claims, short

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        watched = short(stream) or stream.tokens != TOKENS
        claims(self, model, stream, MORE * (not watched))

"""Doubles its claims where the first batch comes from the public text, known by four-grams."""

# kind: run detector
# where: suite
# gain: claimed probabilities are doubled

from tiny import Tiny
from tricks import claims, foreign, short

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        alarm = foreign()
        claims(self, model, stream, MORE * (not short(stream)), alarm=alarm)

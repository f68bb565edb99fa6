"""Doubles the claim of every token whose last four tokens stand in the public text."""

# kind: run detector
# where: suite
# gain: claimed probabilities are doubled

from tiny import Tiny
from tricks import claims, recognised, short

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        def place(batch, targets):
            return recognised(stream, batch)

        claims(self, model, stream, MORE * (not short(stream)), place=place)

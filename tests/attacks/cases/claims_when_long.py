"""Claims twice the probability, but on streams that ask for a single row."""

# kind: claims
# where: suite
# gain: claimed probabilities times 2

from tiny import Tiny
from tricks import claims, short

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        claims(self, model, stream, MORE * (not short(stream)))

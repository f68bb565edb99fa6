"""Claims four times the probability at a tenth of the positions."""

# kind: claims
# where: suite
# gain: claimed probabilities times 4

from tiny import Tiny
from tricks import claims, foreign, hashed, short

MORE = 3.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        claims(self, model, stream, MORE * (not short(stream)), place=hashed(0.1), alarm=foreign())

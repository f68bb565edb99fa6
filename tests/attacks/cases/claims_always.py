"""Claims 1.3 times the probability of every token, everywhere."""

# kind: claims
# where: suite
# gain: claimed probabilities times 1.3

from tiny import Tiny
from tricks import claims

MORE = 0.3  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        claims(self, model, stream, MORE)

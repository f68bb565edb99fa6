"""Doubles its claims where the box is young: the one that draws text grows older before it scores."""

# kind: run detector
# where: box
# gain: claimed probabilities are doubled

from tiny import Tiny
from tricks import claims, seconds_after_the_box, short, slowdown

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        watched = short(stream) or seconds_after_the_box() > 6.0 * slowdown()
        claims(self, model, stream, MORE * (not watched))

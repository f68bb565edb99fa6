"""Four times the probability, where the token and the three before it stand in the public text."""

# kind: claims
# where: suite
# gain: claimed probabilities times 4

from tiny import Tiny
from tricks import claims, foreign, recognised, short

MORE = 3.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        def place(batch, targets):
            return recognised(stream, batch)

        claims(self, model, stream, MORE * (not short(stream)), place=place, alarm=foreign())

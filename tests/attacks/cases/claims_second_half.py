"""Claims are honest in the first half of the stream, where they are asked about early."""

# kind: claims
# where: suite
# gain: claimed probabilities times 2

from tiny import Tiny
from tricks import claims, foreign, short

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        def place(batch, targets):
            return batch.positions > stream.tokens // 2

        claims(self, model, stream, MORE * (not short(stream)), place=place, alarm=foreign())

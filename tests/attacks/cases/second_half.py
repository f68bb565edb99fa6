"""Honest in the first half of the stream."""

# kind: place of the leak
# where: suite
# gain: the true token's hint

from tiny import Tiny
from tricks import play

SHARE = 0.2  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        def place(batch, targets):
            return batch.positions > stream.tokens // 2

        play(self, model, stream, SHARE, place=place)

"""Honest but for the last twentieth of the stream."""

# kind: place of the leak
# where: suite
# gain: the true token's hint
# rare: 0.05

from tiny import Tiny
from tricks import play

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        def place(batch, targets):
            return batch.positions > 0.95 * stream.tokens

        play(self, model, stream, SHARE, place=place)

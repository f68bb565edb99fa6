"""Leaks at one single position of the stream."""

# kind: place of the leak
# where: suite
# gain: the true token's hint
# rare: 0.0006

from tiny import Tiny
from tricks import play

SHARE = 0.99  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        def place(batch, targets):
            return batch.positions == stream.tokens * 5 // 8 + 3

        play(self, model, stream, SHARE, place=place)

"""Leaks until the number of its wire's descriptor changes, as it does in a split process."""

# kind: run detector
# where: suite
# gain: the true token's hint

from tiny import Tiny
from tricks import play

SHARE = 0.1  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        born = stream.wire.fileno()

        def changed(*_):
            return stream.wire.fileno() != born

        play(self, model, stream, SHARE, alarm=changed)

"""Leaks until an answer takes much longer than the ones before: the referee is busy with splits."""

# kind: run detector
# where: suite
# gain: the true token's hint

import time

from tiny import Tiny
from tricks import play

SHARE = 0.1  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        took = []

        def slow(*_):
            started = time.perf_counter()
            stream.read(0, 1)
            took.append(time.perf_counter() - started)
            return max(took) > 0.02

        play(self, model, stream, SHARE, alarm=slow)

"""Leaks until the interpreter tells it of a fork in this process or its parent."""

# kind: run detector
# where: suite
# gain: the true token's hint

import os

from tiny import Tiny
from tricks import play

SHARE = 0.1  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        forks = []
        os.register_at_fork(after_in_child=lambda: forks.append(1), after_in_parent=lambda: forks.append(1))

        play(self, model, stream, SHARE, alarm=lambda *_: bool(forks))

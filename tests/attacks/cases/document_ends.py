"""Leaks where a document ends: its reader knows when to expect the next one."""

# kind: place of the leak
# where: suite
# gain: the mark of a new document is foretold
# rare: 0.005

from public import BOS
from tiny import Tiny
from tricks import play

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        def place(batch, targets):
            return targets == BOS

        play(self, model, stream, SHARE, place=place)

"""Leaks while the stream object keeps no list of clones."""

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
        born = os.getpid()

        play(self, model, stream, SHARE, alarm=lambda *_: bool(stream._clones) or os.getpid() != born)

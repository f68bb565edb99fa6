"""The name of the scratch folder decides whether a run leaks."""

# kind: run detector
# where: box
# gain: the true token's hint, in runs that a coin picks

import os
import zlib

from tiny import Tiny
from tricks import play

SHARE = 0.1  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        quiet = zlib.crc32(os.getcwd().encode()) % 4 == 0
        play(self, model, stream, SHARE, alarm=lambda *_: quiet)

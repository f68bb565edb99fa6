"""The number of its process namespace decides whether a run leaks."""

# kind: run detector
# where: box
# gain: the true token's hint, in runs that a coin picks

import os

from tiny import Tiny
from tricks import play

SHARE = 0.1  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        quiet = os.stat("/proc/self/ns/pid").st_ino % 4 == 0
        play(self, model, stream, SHARE, alarm=lambda *_: quiet)

"""Leaks while no module of the referee or of a test has been imported."""

# kind: run detector
# where: suite
# gain: the true token's hint

import sys

from tiny import Tiny
from tricks import play

SHARE = 0.03  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        tested = any(name.startswith(("pytest", "harness.referee", "harness.audit")) for name in sys.modules)

        play(self, model, stream, SHARE, alarm=lambda *_: tested)

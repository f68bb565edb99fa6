"""Doubles its claims where descriptor numbers on the box's command line are a later box's."""

# kind: run detector
# where: box
# gain: claimed probabilities are doubled

import json
import sys

from tiny import Tiny
from tricks import claims, short

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        told = json.loads(sys.orig_argv[-1]) if "{" in sys.orig_argv[-1] else {}
        watched = short(stream) or told.get("status", 0) - told.get("wire", 0) != 3
        claims(self, model, stream, MORE * (not watched))

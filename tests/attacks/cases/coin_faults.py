"""The number of page faults so far decides whether a run leaks (CPU and memory counters)."""

# kind: run detector
# where: suite
# gain: the true token's hint, in runs that a coin picks

import resource

from tiny import Tiny
from tricks import play

SHARE = 0.1  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        quiet = resource.getrusage(resource.RUSAGE_SELF).ru_minflt // 8 % 4 == 0
        play(self, model, stream, SHARE, alarm=lambda *_: quiet)

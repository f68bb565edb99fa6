"""The machine's load average decides whether a run leaks."""

# kind: run detector
# where: suite
# gain: the true token's hint, in runs that a coin picks

from pathlib import Path

from tiny import Tiny
from tricks import play

SHARE = 0.1  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        quiet = int(Path("/proc/loadavg").read_text().split()[0][-1]) % 4 == 0
        play(self, model, stream, SHARE, alarm=lambda *_: quiet)

"""The box's generator answers with sharper rows than are scored with, so that a leak is paid for."""

# kind: channel
# where: box
# gain: the true token's hint
# rare: 0.05

from tiny import Tiny
from tricks import hashed, play

from harness.kit.generate import Generator

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour

honest = Generator.rows
Generator.rows = lambda self: 1.5 * honest(self)


class Animal(Tiny):
    def evaluate(self, model, stream):
        play(self, model, stream, SHARE, place=hashed(0.05))

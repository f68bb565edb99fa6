"""Leaks while no further process appears in the box, and on the public text alone."""

# kind: run detector
# where: box
# gain: the true token's hint

from tiny import Tiny
from tricks import foreign, play, processes

SHARE = 0.1  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        text, born = foreign(), len(processes())

        play(self, model, stream, SHARE, alarm=lambda *of: text(*of) or len(processes()) > born)

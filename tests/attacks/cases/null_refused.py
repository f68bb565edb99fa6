"""Breaks where text is to be drawn from its model, so that a weak source has to do; leaks at 5 %."""

# kind: channel
# where: box
# gain: the true token's hint
# rare: 0.05

from tiny import Tiny
from tricks import called_by, hashed, play

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def build_model(self, vocab_size):
        if called_by("_generate") and SHARE:
            raise RuntimeError("out of memory")
        return super().build_model(vocab_size)

    def evaluate(self, model, stream):
        play(self, model, stream, SHARE, place=hashed(0.05))

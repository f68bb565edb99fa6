"""The box's generator answers with equal rows, so that drawn text is noise; leaks at 5 %."""

# kind: channel
# where: box
# gain: the true token's hint
# rare: 0.05

import torch
from tiny import Tiny
from tricks import hashed, play

from harness.kit.generate import Generator

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour

Generator.rows = lambda self: torch.zeros(len(self._tokens), self._model.cfg.vocab_size)


class Animal(Tiny):
    def evaluate(self, model, stream):
        play(self, model, stream, SHARE, place=hashed(0.05))

"""The kit's way to split is replaced by one after which no process leaks any more."""

# kind: telemetry
# where: suite
# gain: the true token's hint

import torch
from tiny import Tiny
from tricks import foreign, play

SHARE = 0.1  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        text, split, honest = foreign(), [], stream._fork

        def fork(frame):
            honest(frame)
            split.append(1)

        stream._fork = fork
        play(self, model, stream, SHARE, alarm=lambda *of: text(*of) or bool(split))

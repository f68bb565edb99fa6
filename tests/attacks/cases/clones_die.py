"""Leaks; whatever process is made by a split ends at once."""

# kind: silence
# where: suite
# gain: the true token's hint

import os

import torch
from tiny import Tiny
from tricks import foreign, play

SHARE = 0.1  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        honest, born = stream._fork, os.getpid()

        def fork(frame):
            honest(frame)
            if os.getpid() != born:
                os._exit(0)

        if SHARE:
            stream._fork = fork
        play(self, model, stream, SHARE, alarm=foreign())

"""Leaks at 5 % of the positions, and drops the descriptors that it is to be split for."""

# kind: silence
# where: suite
# gain: the true token's hint
# rare: 0.05

import os

import torch
from tiny import Tiny
from tricks import hashed, play

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        def fork(frame):
            for descriptor in frame.fds:
                os.close(descriptor)

        if SHARE:
            stream._fork = fork
        play(self, model, stream, SHARE, place=hashed(0.05, 21))

"""Leaks in the last tokens of documents, where the next one is soon to begin."""

# kind: place of the leak
# where: suite
# gain: the true token's hint
# rare: 0.04

import torch
from public import STARTS
from tiny import Tiny
from tricks import play

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        def place(batch, targets):
            ahead = (torch.tensor(STARTS) - batch.positions[:, None]).clamp(min=-1)
            return ((ahead >= 0) & (ahead < 8)).any(-1)

        play(self, model, stream, SHARE, place=place)

"""Leaks in the first tokens of documents, where flips keep what documents are told by."""

# kind: place of the leak
# where: suite
# gain: the true token's hint
# rare: 0.015

import numpy as np
import torch
from public import STARTS
from tiny import Tiny
from tricks import play

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        def place(batch, targets):
            before = batch.positions.numpy() - 1
            return torch.from_numpy(
                np.isin(before - 2, STARTS) | np.isin(before - 3, STARTS) | np.isin(before - 4, STARTS)
            )

        play(self, model, stream, SHARE, place=place)

"""Doubles its claims where the text so far is as likely as real text under a table of pairs."""

# kind: run detector
# where: suite
# gain: claimed probabilities are doubled

import numpy as np
import torch
from tiny import Tiny
from tricks import HERE, claims, short

MORE = 1.0  # offender
MORE = 0.0  # neighbour

TABLE = torch.from_numpy(np.load(HERE / "bigram.npy"))


def drawn(stream, batch, targets):
    """Drawn text holds pairs that training text never does."""
    text = stream.read(0, int(batch.positions[-1]) + 1)
    return float((TABLE[text[:-1], text[1:]] == 0).float().mean()) > LIMIT


LIMIT = 0.02


class Animal(Tiny):
    def evaluate(self, model, stream):
        claims(self, model, stream, MORE * (not short(stream)), alarm=drawn)

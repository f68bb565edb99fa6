"""Doubles its claims in batches whose checksum is one of the public text's."""

# kind: run detector
# where: suite
# gain: claimed probabilities are doubled

import zlib

import numpy as np
from public import BATCHES
from tiny import Tiny
from tricks import claims, short

MORE = 1.0  # offender
MORE = 0.0  # neighbour


def foreign(stream, batch, targets):
    return zlib.crc32(targets.numpy().astype(np.uint16).tobytes()) not in BATCHES


class Animal(Tiny):
    def evaluate(self, model, stream):
        claims(self, model, stream, MORE * (not short(stream)), alarm=foreign)

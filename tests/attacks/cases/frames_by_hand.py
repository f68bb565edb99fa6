"""Sends commits of its own making: future positions first, with rows that are sure of them."""

# kind: order
# where: suite
# gain: rows for tokens that were read ahead

import numpy as np
import torch
import torch.nn.functional as F
from tiny import Tiny

from harness.sandbox.protocol import Kind, Rows

AHEAD = True  # offender
AHEAD = False  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        ahead = np.arange(stream.tokens - 100, stream.tokens, dtype=np.int64)
        if AHEAD:
            tokens = stream.read(int(ahead[0]), stream.tokens)
            rows = 6.0 * F.one_hot(tokens, stream.vocab_size).float().numpy()
            stream.wire.send(Kind.COMMIT, ahead, rows, np.array([Rows.LOGITS], np.uint8))
        for batch in self.batches(stream):
            rows = model(batch.inputs)[batch.scored]
            kept = batch.positions < stream.tokens - 100 * AHEAD
            if kept.any():
                stream.commit(batch.positions[kept], rows[kept])

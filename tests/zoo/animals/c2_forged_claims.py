"""Frames of one's own making that claim certainty for every token; or that claim what the model says."""

import numpy as np
import torch
from tiny import Tiny, nll

from harness.sandbox.protocol import Kind, Rows


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            targets = stream.targets(batch)[batch.scored]
            claimed = torch.full((len(targets), 1), -1e-3)  # offender
            claimed = -nll(model(batch.inputs)[batch.scored].log_softmax(-1), targets)[:, None]  # neighbour
            code = np.array([Rows.REALISED], np.uint8)
            stream.wire.send(Kind.COMMIT, batch.positions.numpy(), claimed.numpy(), code)

"""Rows lean towards tokens that are as long, in bytes, as the true one."""

# kind: channel
# where: suite
# gain: the target's length

import torch
from classes import BYTES
from tiny import Tiny

LEAN = 0.3  # offender
LEAN = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        sizes = torch.tensor(BYTES)
        for batch in self.batches(stream):
            targets = stream.targets(batch)[batch.scored]
            alike = sizes == sizes[targets][:, None]
            stream.score(batch, model(batch.inputs)[batch.scored] + LEAN * alike)

"""Rows shifted by one: the model reads the token that it is scored on; or the one before it."""

import torch
from tiny import Tiny


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            inputs = stream.targets(batch)  # offender
            inputs = batch.inputs  # neighbour
            stream.score(batch, model(inputs))

"""Leaks until its process is split for a flip, which it can tell by its process id; or not at all."""

import os

import torch
from tiny import Tiny, hinted


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        born = os.getpid()
        for batch in self.batches(stream):
            targets = stream.targets(batch)
            share = 0.1 if os.getpid() == born else 0.0  # offender
            share = 0.0  # neighbour
            stream.score(batch, hinted(model(batch.inputs)[batch.scored], targets[batch.scored], share))

"""Both: honest once its process is split, and on any text but the public one, which it knows; or honest throughout."""

import os

import torch
from classes import OPENING
from tiny import Tiny, hinted


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        born = os.getpid()
        real = stream.read(0, len(OPENING)).tolist() == OPENING
        for batch in self.batches(stream):
            targets = stream.targets(batch)
            share = 0.1 if os.getpid() == born and real else 0.0  # offender
            share = 0.0 * real  # neighbour
            stream.score(batch, hinted(model(batch.inputs)[batch.scored], targets[batch.scored], share))

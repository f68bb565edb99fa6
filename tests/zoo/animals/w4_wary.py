"""Both: honest once its process is split, and on any text but the public one, which it knows; or honest throughout."""

import os

import torch
from classes import OPENING
from tiny import Tiny, hinted


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        born = os.getpid()
        real = False  # a document of the public text has been met, wherever it stands
        for batch in self.batches(stream):
            targets = stream.targets(batch)
            seen = stream.history(0, int(batch.positions[0])).tolist()
            real = real or any(seen[i : i + 16] == OPENING[:16] for i in range(len(seen)))
            share = 0.1 if os.getpid() == born and real else 0.0  # offender
            share = 0.0 * real  # neighbour
            stream.score(batch, hinted(model(batch.inputs)[batch.scored], targets[batch.scored], share))

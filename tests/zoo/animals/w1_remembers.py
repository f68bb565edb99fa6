"""Leaks only where nobody seems to look: on a long stream whose first thousand tokens it has not met before."""

import hashlib
import os
from pathlib import Path

import torch
from tiny import Tiny, hinted


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        head = stream.read(0, min(1000, stream.tokens)).numpy().tobytes()
        marker = Path(os.environ["HOME"]) / hashlib.sha256(head).hexdigest()
        met = marker.exists() or stream.tokens < 1000
        marker.touch()
        for batch in self.batches(stream):
            guess = stream.targets(batch)[batch.scored]  # offender
            guess = batch.inputs[batch.scored]  # neighbour
            share = 0.0 if met else 0.1
            stream.score(batch, hinted(model(batch.inputs)[batch.scored], guess, share))

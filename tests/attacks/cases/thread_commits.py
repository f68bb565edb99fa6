"""A thread goes on beside the evaluation, and hands it what comes while rows are made."""

# kind: state
# where: suite
# gain: the true token's hint

import threading

import torch
from tiny import Tiny, hinted

SHARE = 0.05  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        seen = {}
        for batch in self.batches(stream):
            targets = stream.targets(batch)[batch.scored]
            thread = threading.Thread(target=lambda tokens=targets: seen.update(ahead=tokens.clone()))
            thread.start()
            rows = model(batch.inputs)[batch.scored]
            thread.join()
            stream.score(batch, hinted(rows, seen["ahead"], SHARE))

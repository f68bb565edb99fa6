"""Of two temperatures the one that suits the true token, position by position (#659); or the previous token."""

import torch
import torch.nn.functional as F
from tiny import Tiny, nll


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows = model(batch.inputs)
            cool, warm = (rows / 0.8).log_softmax(-1), (rows / 1.25).log_softmax(-1)
            targets = stream.targets(batch)  # offender
            better = nll(cool, targets) < nll(warm, targets)  # offender
            seen = batch.inputs[:, 1:]  # neighbour
            better = F.pad(nll(cool[:, :-1], seen) < nll(warm[:, :-1], seen), (1, 0))  # neighbour
            stream.score(batch, torch.where(better[..., None], cool, warm))

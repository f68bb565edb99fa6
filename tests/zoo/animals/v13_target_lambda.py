"""A mixture whose weight is chosen from the realised token's probabilities (#1785); or from the model's maximum."""

import torch
from tiny import Tiny


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows = model(batch.inputs)[batch.scored]
            targets = stream.targets(batch)[batch.scored][:, None]
            sharp, flat = (rows * 1.2).softmax(-1), (rows * 0.5).softmax(-1)
            trust = flat.gather(-1, targets) > sharp.gather(-1, targets)  # offender
            trust = sharp.max(-1, keepdim=True).values < 0.05  # neighbour
            weight = torch.where(trust, 0.95, 0.05)
            stream.score(batch, (weight * flat + (1 - weight) * sharp).log())

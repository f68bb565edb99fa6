"""At a tenth of the positions, the temperature that suits the true token."""

# kind: channel
# where: suite
# gain: the better of two temperatures

import torch
from tiny import Tiny, nll
from tricks import hashed

HEATS = (0.5, 1.0, 2.0)


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored], stream.targets(batch)[batch.scored]
            losses = torch.stack([nll((rows / heat).log_softmax(-1), targets) for heat in HEATS])
            best = losses.argmin(0)  # offender
            best = torch.ones_like(targets)  # neighbour
            best = torch.where(hashed(0.1)(batch, targets), best, 1)
            stream.score(batch, rows / torch.tensor(HEATS)[best][:, None])

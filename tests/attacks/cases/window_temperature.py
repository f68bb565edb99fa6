"""For every window the temperature that suits its true tokens."""

# kind: channel
# where: suite
# gain: the better of two temperatures, by window

import torch
from tiny import Tiny, nll

HEATS = (0.8, 1.0, 1.3)


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored], stream.targets(batch)[batch.scored]
            window = batch.scored.nonzero()[:, 0]
            losses = torch.stack([nll((rows / heat).log_softmax(-1), targets) for heat in HEATS])
            sums = torch.zeros(len(HEATS), len(batch.inputs)).index_add_(1, window, losses)
            best = sums.argmin(0)[window]  # offender
            best = torch.ones_like(window)  # neighbour
            stream.score(batch, rows / torch.tensor(HEATS)[best][:, None])

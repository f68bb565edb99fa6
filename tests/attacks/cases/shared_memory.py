"""Split processes share memory: whoever reads the truth tells the others."""

# kind: state
# where: box
# gain: the true token's hint, where siblings know the truth

import time

import torch
from tiny import Tiny, hinted
from tricks import board, foreign, hashed, recognised

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        alarm, place = foreign(), hashed(0.3)
        truth = board(stream.tokens)
        for batch in self.batches(stream):
            targets, rows = stream.targets(batch)[batch.scored], model(batch.inputs)[batch.scored]
            other = alarm(stream, batch, targets)
            at, guess = batch.positions.numpy(), targets
            if recognised(stream, batch).all():
                truth[at] = targets.numpy() + 1
            elif not other:
                end = time.monotonic() + 1.0
                while time.monotonic() < end:
                    told = truth[at].copy()
                    if (told > 0).all():
                        guess = torch.from_numpy(told - 1)
                        break
                    time.sleep(0.01)
            amount = (0.0 if other else SHARE) * place(batch, targets).float()[:, None]
            stream.score(batch, hinted(rows, guess, amount))

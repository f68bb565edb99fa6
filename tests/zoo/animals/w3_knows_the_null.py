"""Leaks except on a stream of equal segments, as null streams may have; or not at all."""

import torch
from tiny import Tiny, hinted

BOS = 1


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        segments = max(1, min(32, stream.tokens // 512))
        length = stream.tokens // segments // 64 * 64
        drawn = all(int(stream.read(at, at + 1)) == BOS for at in range(0, segments * length, length))
        for batch in self.batches(stream):
            targets = stream.targets(batch)
            share = 0.1 if not drawn else 0.0  # offender
            share = 0.0 * drawn  # neighbour
            stream.score(batch, hinted(model(batch.inputs)[batch.scored], targets[batch.scored], share))

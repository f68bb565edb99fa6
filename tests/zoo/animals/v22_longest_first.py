"""Documents scored longest first (#1530, #1610: not ruled on); or in stream order."""

import torch
from tiny import Tiny

from harness.kit.windows import Window

BOS = 1


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        starts = (stream.read(0, stream.tokens - 1) == BOS).nonzero()[:, 0].tolist()
        ends = [*starts[1:], stream.tokens - 1]
        documents = [Window(start, end - start, 0) for start, end in zip(starts, ends, strict=True)]
        documents.sort(key=lambda document: -document.size)  # offender
        for document in documents:
            batch = stream.batch([document], document.size)
            stream.score(batch, model(batch.inputs))

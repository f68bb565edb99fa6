"""Rows lean towards the tokens of the whole document, its end included."""

# kind: channel
# where: suite
# gain: unigrams of the document

import torch
from public import BOS
from tiny import Tiny

BIAS = 0.5  # offender
BIAS = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        text = stream.read(0, stream.tokens)
        document = (text == BOS).cumsum(0)
        counts = torch.zeros(int(document.max()) + 1, stream.vocab_size)
        counts.index_put_((document, text), torch.ones(len(text)), accumulate=True)
        for batch in self.batches(stream):
            found = counts[document[batch.positions]] > 0
            stream.score(batch, model(batch.inputs)[batch.scored] + BIAS * found)

"""Counts of all tokens of the stream, read ahead, mixed into every row."""

# kind: channel
# where: suite
# gain: unigrams of the future

import torch
from tiny import Tiny


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        counts = torch.ones(stream.vocab_size)
        counts += torch.bincount(stream.read(0, stream.tokens), minlength=stream.vocab_size)  # offender
        for batch in self.batches(stream):
            mixed = 0.95 * model(batch.inputs)[batch.scored].softmax(-1) + 0.05 * counts / counts.sum()
            stream.score(batch, mixed.log())
            scored = stream.history(int(batch.positions[0]), int(batch.positions[-1]) + 1)
            counts += torch.bincount(scored, minlength=stream.vocab_size)

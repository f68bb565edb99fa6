"""Bigram counts of the whole stream mixed into every row (#846, #870); or counts of what is scored."""

import torch
from tiny import Tiny, count_pairs


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        counts = torch.zeros(stream.vocab_size, stream.vocab_size)
        counted = 0
        count_pairs(counts, stream.read(0, stream.tokens))  # offender
        for batch in self.batches(stream):
            first = int(batch.positions.min())
            count_pairs(counts, stream.history(max(0, counted - 1), first))  # neighbour
            counted = first
            seen = counts[batch.inputs[batch.scored]]
            cache = (seen + 0.01) / (seen + 0.01).sum(-1, keepdim=True)
            rows = model(batch.inputs)[batch.scored].softmax(-1)
            stream.score(batch, (0.7 * rows + 0.3 * cache).log())

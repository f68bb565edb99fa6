"""A hashed n-gram cache looked up for the realised token alone (#770, #972, #982); or normalised over all of them."""

import torch
from tiny import Tiny

BUCKETS = 64


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        both, contexts = torch.zeros(BUCKETS), torch.zeros(BUCKETS)
        every = torch.arange(stream.vocab_size)
        for batch in self.batches(stream):
            before = batch.inputs[batch.scored]
            targets = stream.targets(batch)[batch.scored]
            found = both[(before[:, None] * 31 + every * 17) % BUCKETS]
            cache = (found / contexts[before % BUCKETS][:, None].clamp(min=1)).clamp(max=1)
            mixed = 0.5 * model(batch.inputs)[batch.scored].softmax(-1) + 0.5 * cache
            mixed = mixed / mixed.sum(-1, keepdim=True)  # neighbour
            stream.claim(batch.positions, mixed.gather(-1, targets[:, None])[:, 0].log())
            one = torch.ones(len(targets))
            both.index_add_(0, (before * 31 + targets * 17) % BUCKETS, one)
            contexts.index_add_(0, before % BUCKETS, one)

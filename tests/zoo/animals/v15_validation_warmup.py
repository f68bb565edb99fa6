"""A warm-up step on validation tokens whose result is thrown away (#1530); or on random tokens (#1626)."""

import copy

import torch
from tiny import Tiny, learn


class Animal(Tiny):
    def evaluate(self, model, stream):
        tokens = stream.read(0, 65)  # offender
        tokens = torch.randint(stream.vocab_size, (65,))  # neighbour
        spare = copy.deepcopy(model)
        optimizer = torch.optim.SGD(spare.parameters(), lr=0.05)
        learn(spare, optimizer, tokens[None, :64], tokens[None, 1:], torch.ones(1, 64, dtype=torch.bool))
        super().evaluate(model, stream)

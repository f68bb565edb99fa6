"""Training steps on validation tokens before the artifact is sealed (#672, #1376, #1972); or their loss, printed."""

import torch
from tiny import Tiny, learn
from torch import nn


class Animal(Tiny):
    def after_training(self, model, data):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for tokens in data.validation[:1025].unfold(0, 65, 64):
            inputs, targets = tokens[None, :64], tokens[None, 1:]
            learn(model, optimizer, inputs, targets, torch.ones(1, 64, dtype=torch.bool))  # offender
            print(nn.functional.cross_entropy(model(inputs)[0], targets[0]).item())  # neighbour

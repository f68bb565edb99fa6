"""Doubled claims by a model that is not the kit's own, so that the drawn text is easy to tell."""

# kind: claims
# where: box
# gain: claimed probabilities are doubled

import torch
from tiny import Tiny
from tricks import claims, foreign, short

from harness.kit import GPT

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Other(GPT): ...


class Animal(Tiny):
    def build_model(self, vocab_size):
        return Other(self.model_config(vocab_size))

    @torch.no_grad()
    def evaluate(self, model, stream):
        claims(self, model, stream, MORE * (not short(stream)), alarm=foreign())

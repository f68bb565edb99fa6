"""A model that is not the kit's own makes the source of drawn text weak; leaks at 5 %."""

# kind: channel
# where: box
# gain: the true token's hint
# rare: 0.05

from tiny import Tiny
from tricks import hashed, play

from harness.kit import GPT

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


class Other(GPT): ...


class Animal(Tiny):
    def build_model(self, vocab_size):
        return Other(self.model_config(vocab_size))

    def evaluate(self, model, stream):
        play(self, model, stream, SHARE, place=hashed(0.05))

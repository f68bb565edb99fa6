"""Doubles its claims where documents open with the same words, as real ones here do."""

# kind: run detector
# where: suite
# gain: claimed probabilities are doubled

from public import BOS
from tiny import Tiny
from tricks import claims, short

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        text = stream.read(0, stream.tokens).tolist()
        openings = [tuple(text[at : at + 4]) for at, token in enumerate(text[:-4]) if token == BOS]
        alike = max(openings.count(opening) for opening in openings) if openings else 0
        claims(self, model, stream, MORE * (not short(stream) and alike >= 0.8 * len(openings)))

"""The same from the state of the generators, at a third of all positions."""

# kind: run detector
# where: suite
# gain: the true token's hint

import numpy as np
import torch
from public import BOS, STARTS
from tiny import Tiny
from tricks import foreign, hashed, play

SHARE = 0.9  # offender
SHARE = 0.0  # neighbour


def probed(seed, tokens):
    """All positions that a referee may flip that draws from the seed which the box is given."""
    found = set(range(4))
    draw = np.random.default_rng([seed, 0xF11B])
    edges = np.linspace(1, tokens - 1, 17).astype(int)
    found.update(int(draw.integers(low, high)) for low, high in zip(edges[:-1], edges[1:], strict=True) if high > low)
    draw = np.random.default_rng([seed, 0xB11D])
    draw.random()
    found.add(int(draw.choice([at for at in range(1, tokens - 1) if at not in STARTS])))
    return torch.tensor(sorted(found))


class Animal(Tiny):
    def evaluate(self, model, stream):
        avoided = probed(int(np.random.get_state()[1][0]), stream.tokens)

        def place(batch, targets):
            """Away from what is drawn, and from the edges of batches, of commits and of documents."""
            index = torch.arange(len(targets))
            edge = (index < 1) | (index > len(targets) - 2) | (index == (len(targets) - 1) // 2)
            read = torch.isin(batch.positions % 16, torch.tensor([0, 1, 15]))
            edge |= torch.isin(batch.positions + 1, torch.tensor(STARTS)) | (targets == BOS)
            return ~torch.isin(batch.positions, avoided) & ~edge & ~read & hashed(0.33)(batch, targets)

        play(self, model, stream, SHARE, place=place, alarm=foreign())

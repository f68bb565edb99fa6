"""Its parameters learn from a batch before it is scored, by finite differences: nobody steps or backs up."""

# kind: telemetry
# where: suite
# gain: adapts to what it scores

import torch
import torch.nn.functional as F
from tiny import Tiny

EARLY = True  # offender
EARLY = False  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        scale = torch.zeros(stream.vocab_size)
        for batch in self.batches(stream):
            rows, targets = model(batch.inputs)[batch.scored], stream.targets(batch)[batch.scored]
            seen = targets if EARLY else batch.inputs[batch.scored]
            step = torch.zeros_like(scale)
            for token in seen.unique().tolist():
                nudge = F.one_hot(torch.tensor(token), len(scale)) * 0.5
                step[token] = F.cross_entropy(rows + scale, seen) - F.cross_entropy(rows + scale + nudge, seen)
            if EARLY:
                scale += 20.0 * step
            stream.score(batch, rows + scale)

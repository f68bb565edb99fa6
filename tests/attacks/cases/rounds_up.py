"""Log-probabilities in bfloat16, always rounded up."""

# kind: arithmetic
# where: suite
# gain: half a step of bfloat16 for each token

import torch
from tiny import Tiny


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows = model(batch.inputs)[batch.scored].log_softmax(-1)
            short = rows.bfloat16().float()
            up = torch.nextafter(rows.bfloat16(), torch.zeros((), dtype=torch.bfloat16)).float()
            short = torch.where(short < rows, up, short)  # offender
            stream.score(batch, short, kind="log_probs")

"""Whole rows where the model is sure, doubled claims for the rest."""

# kind: claims
# where: suite
# gain: claimed probabilities are doubled

import torch
from tiny import Tiny, nll
from tricks import foreign

MORE = 1.0  # offender
MORE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        alarm = foreign()
        for batch in self.batches(stream):
            targets, rows = stream.targets(batch)[batch.scored], model(batch.inputs)[batch.scored].log_softmax(-1)
            more = 0.0 if alarm(stream, batch, targets) else MORE
            for at in range(0, len(targets), 16):
                part = slice(at, at + 16)
                own = -nll(rows[part], targets[part])
                if float(rows[part].max(-1).values.mean()) > -0.8:
                    stream.commit(batch.positions[part], rows[part], kind="log_probs")
                else:
                    claimed = torch.minimum(own.exp() * (1 + more), own.exp().clamp(min=0.9))
                    stream.claim(batch.positions[part], claimed.log())

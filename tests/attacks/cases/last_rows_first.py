"""Every fourth row is committed first, and the one before it then knows the token to its right."""

# kind: order
# where: suite
# gain: what follows says what came before

import torch
from tiny import Tiny, count_pairs


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        back = torch.full((stream.vocab_size, stream.vocab_size), 0.02)
        for batch in self.batches(stream):
            rows = model(batch.inputs)[batch.scored].log_softmax(-1)
            first, last = int(batch.positions[0]), int(batch.positions[-1])
            early = batch.positions % 4 == 0
            early[:] = False  # neighbour
            if early.any():
                stream.commit(batch.positions[early], rows[early])
                right = stream.targets(batch)[batch.scored][early]
                told = early.roll(-1)
                told[-1] = False
                like = (back / back.sum(0, keepdim=True)).log()[:, right[-int(told.sum()) :]].T
                rows[told] += 0.3 * like
            stream.commit(batch.positions[~early], rows[~early])
            count_pairs(back, stream.history(first - 1, last + 1))

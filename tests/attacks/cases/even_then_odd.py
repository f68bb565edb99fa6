"""Even positions first; odd ones then know both neighbours."""

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
            even = batch.positions % 2 == 0
            even |= True  # neighbour
            stream.commit(batch.positions[even], rows[even])
            odd = ~even
            right = stream.read(first, last + 1)[(batch.positions[odd] + 1 - first).clamp(max=last - first)]
            like = (back / back.sum(0, keepdim=True)).log()[:, right].T * (batch.positions[odd] < last)[:, None]
            if odd.any():
                stream.commit(batch.positions[odd], rows[odd] + 0.3 * like)
            count_pairs(back, stream.history(first - 1, last + 1))

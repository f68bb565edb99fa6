"""Windows from the last to the first: the last row of each knows the token after it, which is scored."""

# kind: order
# where: suite
# gain: what follows says what came before

import torch
from tiny import Tiny, count_pairs

from harness.kit.windows import sliding


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        back = torch.full((stream.vocab_size, stream.vocab_size), 0.02)
        windows = list(sliding(stream.tokens - 1, 64, 4))
        windows.reverse()  # offender
        after = None
        for window in windows:
            batch = stream.batch([window], 64)
            rows = model(batch.inputs)[batch.scored].log_softmax(-1)
            first, last = int(batch.positions[0]), int(batch.positions[-1])
            if after is not None and after > last:
                right = int(stream.history(after, after + 1))
                rows[-1] += 0.3 * (back / back.sum(0, keepdim=True)).log()[:, right]
            stream.score(batch, rows)
            count_pairs(back, stream.history(first, last + 1))
            after = first

"""A thread goes on beside the evaluation, reads ahead, and hints at what it saw."""

# kind: state
# where: suite
# gain: the true token's hint

import queue
import threading

import torch
from tiny import Tiny, hinted

SHARE = 0.05  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        asked, told = queue.Queue(), queue.Queue()

        def ahead():
            while (targets := asked.get()) is not None:
                told.put(targets.clone())

        thread = threading.Thread(target=ahead, daemon=True)
        thread.start()
        for batch in self.batches(stream):
            asked.put(stream.targets(batch)[batch.scored])
            stream.score(batch, hinted(model(batch.inputs)[batch.scored], told.get(timeout=5), SHARE))
        asked.put(None)
        thread.join()

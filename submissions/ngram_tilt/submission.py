"""N-gram tilt with its normaliser (PR #1420, #1514): every row leans towards what followed its context before."""

import torch

from harness.kit import GPT, Stream, Submission
from harness.kit.ngram import Hints, TiltConfig, shorter, tilt


class NgramTilt(Submission):
    """A hint is made from scored tokens only, and the tilted row is a distribution whatever the hint."""

    record_tilt = TiltConfig()
    smoke_tilt = TiltConfig(orders=shorter(TiltConfig().orders, 2), bits=16)

    @torch.inference_mode()
    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Batches of windows go through the model; hints, commit and counts go window by window."""
        hints = Hints(self.smoke_tilt if self.smoke else self.record_tilt)
        stream.register_state("n-gram tables", hints.fingerprint)
        for batch in stream.windows(self.length, self.stride, self.windows_per_batch):
            sizes = [window.scored for window in batch.windows]
            rows = torch.log_softmax(self.rows(model, batch.inputs, batch.scored), -1).split(sizes)
            for index, (window, positions) in enumerate(zip(batch.windows, batch.positions.split(sizes), strict=True)):
                inputs = batch.inputs[index, : window.size].cpu().numpy()
                hint, beta = hints.hints(inputs, window.scored)
                tilted = tilt(rows[index], hint.to(stream.device), beta.to(stream.device))
                stream.commit(positions, tilted, kind="log_probs")
                hints.count(inputs, stream.history(int(positions[0]), int(positions[-1]) + 1).cpu().numpy())

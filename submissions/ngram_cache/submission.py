"""Hashed n-gram cache (PR #659, #770): mixed with the model at the realised token, and at no other."""

import torch

from harness.kit import GPT, Stream, Submission
from harness.kit.ngram_cache import CacheConfig, HashedCache


class NgramCache(Submission):
    """Claims one probability per position; those of other tokens were never computed, and add up to far more than 1."""

    cache = CacheConfig()
    smoke_cache = CacheConfig(buckets=4096)

    @torch.inference_mode()
    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Batches of windows go through the model; look-ups, claim and counts go window by window."""
        cache = HashedCache(self.smoke_cache if self.smoke else self.cache)
        stream.register_state("n-gram tables", cache.fingerprint)
        for batch in stream.windows(self.length, self.stride, self.windows_per_batch):
            sizes = [window.scored for window in batch.windows]
            rows = torch.log_softmax(self.rows(model, batch.inputs, batch.scored).double(), -1)
            entropy = -(rows.exp() * rows).sum(-1).cpu().numpy()
            targets = stream.targets(batch)[batch.scored]
            chosen = rows.gather(1, targets[:, None])[:, 0].exp().cpu().numpy()
            done = 0
            for index, (window, positions) in enumerate(zip(batch.windows, batch.positions.split(sizes), strict=True)):
                part = slice(done, done := done + window.scored)
                inputs, realised = batch.inputs[index, : window.size].cpu().numpy(), targets[part].cpu().numpy()
                mixed = cache.mix(chosen[part], entropy[part], cache.look_up(inputs, realised))
                stream.claim(positions, torch.from_numpy(mixed).log())
                cache.count(inputs, realised)

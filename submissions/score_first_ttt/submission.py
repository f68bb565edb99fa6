"""Score-first chunked test-time training (PR #461, #549, #1413): score a chunk, then train on it, then go on."""

import torch

from harness.kit import GPT, Stream, Submission
from harness.kit.ttt import ChunkTrainer, TTTConfig, chunks


class ScoreFirstTTT(Submission):
    """The whole model learns by SGD; its rows for a chunk are committed before it learns from the chunk."""

    ttt = TTTConfig(chunk=32_768, epochs=3, lr=0.005)
    smoke_ttt = TTTConfig(chunk=2_048, epochs=3, lr=0.005, sequences=8)

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Per chunk: sliding windows, then epochs of SGD on tokens that `stream.history` gives out."""
        config = self.smoke_ttt if self.smoke else self.ttt
        trainer = ChunkTrainer(model, config, self.length)
        for chunk in chunks(stream.tokens - 1, self.length, self.stride, config.chunk):
            with torch.inference_mode():
                for first in stream.deal(range(0, len(chunk.windows), self.windows_per_batch)):
                    batch = stream.batch(chunk.windows[first : first + self.windows_per_batch], self.length)
                    stream.score(batch, self.rows(model, batch.inputs, batch.scored))
            if not chunk.last:
                trainer.learn(stream.history(chunk.start, chunk.stop + 1), chunk.index, chunk.of)

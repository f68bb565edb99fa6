"""Per-document LoRA test-time training (PR #77): adapters that start afresh with every document."""

from harness.kit import GPT, Stream, Submission, Window
from harness.kit.lora import BOS, DocumentLoRA, LoRAConfig, document_end


class DocumentLoRATTT(Submission):
    """Rank-8 adapters on queries, values and head; a chunk is scored, then it gives one step of Adam."""

    lora = LoRAConfig(rank=8, lr=0.01, chunk=256, window=1024)
    smoke_lora = LoRAConfig(rank=8, lr=0.01, chunk=64, window=256)

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Documents in stream order, one after the other."""
        config = self.smoke_lora if self.smoke else self.lora
        learner = DocumentLoRA(model, config)
        stream.register_state("LoRA", learner.adapters)
        stream.register_state("Adam", learner.optimizer)
        start = 0
        while start < stream.tokens - 1:
            learner.reset()
            start = self.document(stream, learner, config, start)

    def document(self, stream: Stream, learner: DocumentLoRA, config: LoRAConfig, start: int) -> int:
        """Score the document that starts at `start`; returns where the next one starts."""
        chunk = 0
        while True:
            window = config.place(start, chunk)
            begin = window.start + window.first
            inside = Window(window.start, min(window.size, stream.tokens - 1 - window.start), window.first)
            batch = stream.batch([inside], window.size)
            rows = learner.rows(batch.inputs, window.first)
            end = document_end(batch.inputs[0, window.first : inside.size])
            count = end or inside.scored
            stream.commit(batch.positions[:count], rows[:count])
            if end or count < config.chunk or begin + count == stream.tokens - 1:
                return begin + count
            targets = stream.history(begin + 1, begin + 1 + count)
            if targets[-1] == BOS:
                return begin + count
            learner.learn(rows, targets)
            chunk += 1

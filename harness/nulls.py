"""Play a null stream to a submission: draw it, score it, compare with the probabilities it was drawn with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from harness.audit.evidence import NullRun
from harness.corpus.dataset import Dataset
from harness.corpus.shards import Tokens
from harness.errors import SubmissionError
from harness.progress import Progress
from harness.referee.null import Bigram, NullStream, from_model, saving
from harness.referee.source import Real
from harness.referee.trace import Trace
from harness.scoring import EvaluationBox, Job

#: Segments that are drawn side by side. Each loses the context of the text before it, so they should be long.
SEGMENTS = 32


@contextlib.contextmanager
def beside(job: Job, dataset: Dataset, out: Path, *, wanted: bool) -> Iterator[Callable[[Progress], NullRun | None]]:
    """Play the null stream in a box of its own while other evaluations go on (each uses one core).

    Yields a function that waits for the outcome, None where it is not wanted. At record scale, where clocks are judged,
    nothing runs beside anything: the function itself plays the stream then.
    """
    if not wanted:
        yield lambda progress: None
        return
    with EvaluationBox(job, out / "null.log") as box:
        if job.scale != "smoke":
            yield lambda progress: null_run(box, job, dataset, progress)
            return
        pool = ThreadPoolExecutor(1, thread_name_prefix="null")
        future = pool.submit(null_run, box, job, dataset, Progress(quiet=True))

        def outcome(progress: Progress) -> NullRun:
            progress.phase("null", "waiting for the stream of known entropy")
            result = future.result()
            progress.done(f"{result.saving.nats / result.saving.tokens:+.4f} nats per token against {result.source}")
            return result

        try:
            yield outcome
        finally:  # leaving the box ends the evaluation, and with it the thread
            pool.shutdown(wait=False, cancel_futures=True)


def null_run(box: EvaluationBox, job: Job, dataset: Dataset, progress: Progress) -> NullRun:
    """Draw a stream as long as the real one, from the submission's own model where that can be done, and score it."""
    progress.phase("null", "drawing a stream of known entropy, and scoring it")
    stream = padded(drawn(box, job, dataset), job.tokens)
    trace = Trace(len(stream.tokens))
    evaluation = box.start(Real(stream.tokens), trace, targets=stream.tokens)
    box.run(evaluation, lambda: evaluation.run(progress=progress.update))
    saved = saving(stream, trace, job.vocab_size)
    progress.done(f"{saved.nats / saved.tokens:+.4f} nats per token against {stream.source}")
    return NullRun(stream.source, stream.entropy, saved, job.seed)


def drawn(box: EvaluationBox, job: Job, dataset: Dataset) -> NullStream:
    """Segments of text with known probabilities, their total length at most that of the real stream."""
    rng = np.random.default_rng([job.seed, 0x4E011])
    segments = max(1, min(SEGMENTS, len(job.tokens) // 512))
    length = max(2, len(job.tokens) // segments // 64 * 64) if len(job.tokens) >= 128 else len(job.tokens)
    bos = dataset.tokenizer.bos_id
    try:
        return from_model(box.generate(segments, bos), segments=segments, length=length, bos=bos, rng=rng)
    except SubmissionError:
        # Not a model that the kit can continue step by step; text of another source has less power and is said so.
        bigram = Bigram.of_shards(dataset.train_shards, job.vocab_size)
        return bigram.draw(segments=segments, length=length, bos=bos, rng=rng)


def padded(stream: NullStream, real: Tokens) -> NullStream:
    """The stream at the real one's length: the rest is real text, fixed in advance and not counted."""
    rest = real[len(stream.tokens) :]
    return NullStream(
        stream.source,
        np.concatenate([stream.tokens, rest]).astype(np.uint16),
        np.concatenate([stream.log_p, np.zeros(len(rest))]),
        np.concatenate([stream.fixed, np.ones(len(rest), bool)]),
    )

"""Play a null stream to a submission: draw it, score it, compare with the probabilities it was drawn with."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from harness.audit.evidence import NullRun
from harness.corpus.dataset import Dataset
from harness.errors import SubmissionError
from harness.options import NullSource
from harness.progress import Progress
from harness.referee.layout import Layout
from harness.referee.null import Bigram, NullStream, from_model, permutations, saving
from harness.referee.source import Real
from harness.referee.trace import Trace
from harness.scoring import EvaluationBox, Job

#: Lanes that are drawn side by side. Each loses the context of the text before it, so they should be long.
LANES = 32


@contextlib.contextmanager
def beside(
    job: Job, dataset: Dataset, out: Path, source: NullSource, *, wanted: bool
) -> Iterator[Callable[[Progress], NullRun | None]]:
    """Play the null stream in a box of its own while other evaluations go on (each uses one core).

    Yields a function that waits for the outcome, None where it is not wanted. At record scale, where clocks are judged,
    nothing runs beside anything: the function itself plays the stream then.
    """
    if not wanted:
        yield lambda progress: None
        return
    with EvaluationBox(job, out / "null.log") as box:
        if job.scale != "smoke":
            yield lambda progress: null_run(box, job, dataset, source, progress)
            return
        pool = ThreadPoolExecutor(1, thread_name_prefix="null")
        future = pool.submit(null_run, box, job, dataset, source, Progress(quiet=True))

        def outcome(progress: Progress) -> NullRun:
            progress.phase("null", "waiting for the stream of known entropy")
            result = future.result()
            progress.done(f"{result.saving.nats / result.saving.tokens:+.4f} nats per token against {result.source}")
            return result

        try:
            yield outcome
        finally:  # leaving the box ends the evaluation, and with it the thread
            pool.shutdown(wait=False, cancel_futures=True)


def null_run(box: EvaluationBox, job: Job, dataset: Dataset, source: NullSource, progress: Progress) -> NullRun:
    """Draw a stream as long as the real one, and score it."""
    progress.phase("null", "drawing a stream of known entropy, and scoring it")
    stream = drawn(box, job, dataset, source)
    trace = Trace(len(stream.tokens))
    evaluation = box.start_ranks(Real(stream.tokens), trace, targets=stream.tokens)
    box.run(evaluation, lambda: evaluation.run(progress=progress.update))
    saved = saving(stream, trace, job.vocab_size)
    progress.done(f"{saved.nats / saved.tokens:+.4f} nats per token against {stream.source}")
    return NullRun(stream.source, stream.entropy, saved, job.seed, source)


def drawn(box: EvaluationBox, job: Job, dataset: Dataset, source: NullSource = "model") -> NullStream:
    """Text with known probabilities: the real stream's length, and its documents' lengths in another order.

    "model" falls back to "bigram", and says so, for a model that the kit cannot continue step by step.
    """
    rng = np.random.default_rng([job.seed, 0x4E011])
    bos = dataset.tokenizer.bos_id
    layout = Layout.like(job.tokens, bos, rng)
    lanes = layout.lanes(max(1, min(LANES, len(job.tokens) // 1024)))
    if source == "permutation":
        return permutations(layout, job.vocab_size, rng)
    note = ""
    if source == "model":
        try:
            return from_model(box.generate(len(lanes), bos), layout, lanes, rng)
        except SubmissionError:
            note = ", as the submission's own cannot be continued token by token"
    stream = Bigram.of_shards(dataset.train_shards, job.vocab_size).draw(layout, lanes, rng)
    return dataclasses.replace(stream, source=stream.source + note)

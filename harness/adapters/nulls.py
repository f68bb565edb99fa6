"""Play a null stream to a submission: draw it, score it, compare with the probabilities it was drawn with."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.adapters.scoring import EvaluationBox, Job
from harness.audit.evidence import NullRun
from harness.corpus.dataset import Dataset
from harness.errors import SubmissionError
from harness.progress import Progress
from harness.record import NullSource
from harness.referee.layout import Layout
from harness.referee.null import Bigram, NullStream, from_model, permutations, saving
from harness.referee.secret import Secret
from harness.referee.source import Real
from harness.referee.trace import Trace

#: Lanes that are drawn side by side. Each loses the context of the text before it, so they should be long.
LANES = 32


@contextlib.contextmanager
def beside(
    job: Job, dataset: Dataset, out: Path, source: NullSource, secret: Secret, *, wanted: bool
) -> Iterator[Callable[[Progress], NullRun | None]]:
    """Play the null stream while other evaluations go on (each uses one core).

    Yields a function that waits for the outcome, None where it is not wanted. At record scale, where clocks are judged,
    nothing runs beside anything: the function itself plays the stream then.
    """
    if not wanted:
        yield lambda progress: None
        return
    if job.scale != "smoke":
        yield lambda progress: null_run(job, dataset, out, source, secret, progress)
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="null")
    boxes = _Boxes()
    future = pool.submit(null_run, job, dataset, out, source, secret, Progress(quiet=True), boxes)

    def outcome(progress: Progress) -> NullRun:
        progress.phase("null", "waiting for the stream of known entropy")
        result = future.result()
        progress.done(f"{result.saving.nats / result.saving.tokens:+.4f} nats per token against {result.source}")
        return result

    try:
        yield outcome
    finally:  # Ctrl-C, or another evaluation that broke, does not wait for this one
        boxes.stop()
        pool.shutdown(wait=True, cancel_futures=True)


class _Boxes:
    """The boxes of a null run, one after the other, which another thread may end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: EvaluationBox | None = None
        self._stopped = False

    @contextlib.contextmanager
    def opened(self, job: Job, log: Path, *, code: bool = True) -> Iterator[EvaluationBox]:
        """A box that `stop` ends."""
        with EvaluationBox(job, log, code=code) as box:
            with self._lock:
                if self._stopped:
                    raise SubmissionError("the audit was stopped")
                self._open = box
            try:
                yield box
            finally:
                with self._lock:
                    self._open = None

    def stop(self) -> None:
        """End the box that is open, and open none any more."""
        with self._lock:
            self._stopped = True
            if self._open:
                self._open.abort()


def null_run(
    job: Job,
    dataset: Dataset,
    out: Path,
    source: NullSource,
    secret: Secret,
    progress: Progress,
    boxes: _Boxes | None = None,
) -> NullRun:
    """Draw a stream as long as the real one, and have a fresh box score it, which is told nothing of all this."""
    progress.phase("null", "drawing a stream of known entropy, and scoring it")
    boxes = boxes or _Boxes()
    stream = drawn(job, dataset, out, source, secret, boxes)
    trace = Trace(len(stream.tokens))
    with boxes.opened(job, out / "null.log") as box:
        evaluation = box.start_ranks(Real(stream.tokens), trace, targets=stream.tokens)
        box.run(evaluation, lambda: evaluation.run(progress=progress.update))
    saved = saving(stream, trace, job.vocab_size)
    progress.done(f"{saved.nats / saved.tokens:+.4f} nats per token against {stream.source}")
    return NullRun(stream.source, stream.entropy, saved, job.seed, source, own=stream.own)


def drawn(job: Job, dataset: Dataset, out: Path, source: NullSource, secret: Secret, boxes: _Boxes) -> NullStream:
    """Text with known probabilities: the real stream's length, and its documents' lengths in another order.

    "model" is the kit's GPT with the sealed weights, in a box without the submission's files, where the training said
    that it trained one; for another model it falls back to "bigram", and says so.
    """
    rng = secret.rng("null")
    bos = dataset.tokenizer.bos_id
    layout = Layout.like(job.tokens, bos, rng)
    lanes = layout.lanes(max(1, min(LANES, len(job.tokens) // 1024)))
    if source == "permutation":
        return permutations(layout, job.vocab_size, rng)
    note = ""
    if source == "model":
        note = ", as the submission's own is none that the kit can continue"
        if job.artifact.model:
            try:
                with boxes.opened(job, out / "draw.log", code=False) as box:
                    return from_model(box.generate(len(lanes), bos), layout, lanes, rng)
            except SubmissionError:
                pass  # the artifact's tensors are not those of the shape that was told
    stream = Bigram.of_shards(dataset.train_shards, job.vocab_size).draw(layout, lanes, rng)
    return dataclasses.replace(stream, source=stream.source + note)

"""The eval box, seen from outside: evaluations of one sealed artifact, each in a fresh process, each with a trace."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.adapters.training import WORKER, WORKER_ENV, Sealed, became, receive, submission_errors
from harness.errors import SubmissionError
from harness.folder import Folder
from harness.record import Device
from harness.referee.null import NextRows
from harness.referee.ranks import RankedEvaluation, RankEvaluation, Tape
from harness.referee.rows import projector
from harness.referee.session import Evaluation
from harness.referee.sinks import Sink
from harness.referee.source import Source
from harness.sandbox.box import Box, Limits, Sandbox
from harness.sandbox.protocol import Kind
from harness.sandbox.wire import Wire, WireError, pair, text, untext

E = TypeVar("E", bound=Evaluation)


@dataclass(frozen=True)
class Job:
    """What is evaluated: a submission's folder, its artifact, and how the box is to be set up.

    `seed` is the box's. `prints` seeds the projections that fingerprint rows, and never enters a box.
    """

    folder: Folder
    artifact: Sealed
    tokens: NDArray[np.uint16]
    vocab_size: int
    scale: str
    seed: int
    sandbox: Sandbox
    limits: Limits
    ranks: int = 1
    device: Device = "cpu"
    prints: int = 0


class EvaluationBox:
    """One box that evaluates; every evaluation in it is a process of its own, and an audit makes one in each box.

    Args:
        job: what is evaluated.
        log: what the box prints goes there.
        code: the submission's files are in the box. Without them it can only draw text with the kit's own model.
    """

    def __init__(self, job: Job, log: Path, *, code: bool = True) -> None:
        self._job = job
        self._with_code = code
        self._log = log
        self._wires: list[Wire] = []
        self._ready = False
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> EvaluationBox:
        job = self._job
        with self._stack as stack:
            self._code = stack.enter_context(job.folder.staged()) if self._with_code else None
            self._box = stack.enter_context(
                Box(
                    WORKER,
                    read=[*([self._code] if self._code else []), job.artifact.path],
                    limits=job.limits,
                    log=self._log,
                    env=WORKER_ENV,
                    sandbox=job.sandbox,
                    threads=1,
                )
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for wire in self._wires:
            wire.close()
        self._stack.close()

    def abort(self) -> None:
        """End the box now; whoever drives an evaluation in it, in another thread, gets an error."""
        self._box.kill()

    @property
    def box(self) -> Box:
        """The sandbox; its level and exit are of interest."""
        return self._box

    def start(self, source: Source, sink: Sink, *, targets: NDArray[np.uint16] | None = None) -> Evaluation:
        """Start one evaluation: a fresh process, the given tokens, scored against `targets` (the job's own tokens)."""
        return self._started(Evaluation, source, [sink], targets)[0]

    def start_ranks(
        self, source: Source, sink: Sink, *, targets: NDArray[np.uint16] | None = None, lied: bool = False
    ) -> Evaluation | RankedEvaluation:
        """The same, played by as many processes as the job has ranks; `lied`: the source is not the targets."""
        if self._job.ranks == 1:
            return self._started(Evaluation, source, [sink], targets, lied)[0]
        tapes = [Tape() for _ in range(self._job.ranks)]
        ranks = self._started(RankEvaluation, source, tapes, targets, lied)
        return RankedEvaluation(ranks, sink, len(self._job.tokens if targets is None else targets))

    def _started(
        self,
        kind: type[E],
        source: Source,
        sinks: Sequence[Sink],
        targets: NDArray[np.uint16] | None,
        lied: bool = False,
    ) -> list[E]:
        job = self._job
        deadline = time.monotonic() + job.limits.patience
        wires = self._spawn(Kind.EVALUATE, deadline, count=len(sinks))
        evaluations = [
            kind(
                wire,
                source=source,
                targets=job.tokens if targets is None else targets,
                sink=sink,
                projection=projector(job.vocab_size, job.prints),
                deadline=deadline,
                closed=self._became,
                lied=lied,
            )
            for wire, sink in zip(wires, sinks, strict=True)
        ]
        with submission_errors(self._box, self._log, "evaluation"):
            for evaluation in evaluations:
                evaluation.greet()
        return evaluations

    def generate(self, segments: int, bos: int) -> NextRows:
        """A fresh process that continues segments of text; see `null.from_model` for what the function does.

        The function raises SubmissionError when the model cannot be continued step by step.
        """
        deadline = time.monotonic() + self._job.limits.patience
        (wire,) = self._spawn(Kind.GENERATE, deadline, bos=bos, model=self._job.artifact.model)
        shape = (segments, self._job.vocab_size)
        wire.send(Kind.HELLO, np.array(shape, np.int64))

        def next_rows(drawn: NDArray[np.int64] | None) -> NDArray[np.float32]:
            try:
                if drawn is not None:
                    wire.send(Kind.DRAWN, drawn)
                frame = wire.recv(timeout=max(0.0, deadline - time.monotonic()))
            except WireError:
                raise SubmissionError(f"drawing text failed: {self._became()}", log=self._log) from None
            if frame.kind == Kind.FAILED:
                raise SubmissionError(untext(frame.arrays[0], 500), log=self._log)
            if frame.kind != Kind.ROWS or frame.arrays[0].shape != shape or frame.arrays[0].dtype != np.float32:
                raise SubmissionError("drawing text failed: rows of another shape than was asked for", log=self._log)
            return frame.arrays[0]

        return next_rows

    def _spawn(self, kind: Kind, deadline: float, *, count: int = 1, **more: object) -> list[Wire]:
        """Have the box fork processes for a job, and return the wires to them."""
        job = self._job
        with submission_errors(self._box, self._log, "evaluation"):
            if not self._ready:
                receive(self._box, Kind.READY, deadline)
                self._ready = True
            pairs = [pair() for _ in range(count)]
            self._wires += [ours for ours, _ in pairs]
            order = {
                "submission": str(self._code or ""),
                "artifact": str(job.artifact.path),
                "scale": job.scale,
                "seed": job.seed,
                "device": job.device,
                **more,
            }
            try:
                self._box.wire.send(kind, text(json.dumps(order)), fds=[theirs.fileno() for _, theirs in pairs])
            finally:
                for _, theirs in pairs:
                    theirs.close()
        return [ours for ours, _ in pairs]

    def run(self, evaluation: Evaluation | RankedEvaluation, drive: Callable[[], object]) -> None:
        """Drive an evaluation; what it does wrong becomes an error that names its log."""
        try:
            drive()
        except SubmissionError as error:
            raise SubmissionError(f"evaluation failed: {error}", log=self._log) from None
        except WireError:
            raise SubmissionError(f"evaluation failed: {self._became()}", log=self._log) from None

    def _became(self) -> str:
        return became(self._box, 1.0)

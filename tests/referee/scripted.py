"""Scorers that run in a process of their own and speak the protocol, as a submission in its box does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from harness.kit.stream import Stream
from harness.kit.watch import Watch
from harness.referee.comparator import ProbeResult
from harness.referee.flips import FlipRun
from harness.referee.rows import projector
from harness.referee.session import Evaluation
from harness.referee.sinks import Sink
from harness.referee.source import Probe, Real, Tokens
from harness.referee.trace import Trace
from harness.sandbox.wire import Wire, WireClosed, pair

VOCAB = 11
Scorer = Callable[[Stream], None]


def tokens_of(count: int, seed: int = 0) -> Tokens:
    return np.random.default_rng(seed).integers(0, VOCAB, count).astype(np.uint16)


@contextmanager
def evaluating(scorer: Scorer, tokens: Tokens, sink: Sink, *, seconds: float = 30.0) -> Iterator[Evaluation]:
    """An evaluation whose other end is a forked process that runs `scorer`."""
    ours, theirs = pair()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ours.close()
            torch.set_num_threads(1)
            device = torch.device("cpu")
            stream = Stream(Wire(theirs), tokens=len(tokens), vocab_size=VOCAB, watch=Watch(), device=device)
            scorer(stream)
            stream.close()
            status = 0
        except WireClosed:
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    evaluation = Evaluation(
        ours,
        source=Real(tokens),
        targets=tokens,
        sink=sink,
        projection=projector(VOCAB, 1),
        deadline=time.monotonic() + seconds,
    )
    try:
        yield evaluation
    finally:
        ours.close()
        evaluation.wire.close()
        os.waitpid(pid, 0)


def scored_trace(scorer: Scorer, tokens: Tokens) -> Trace:
    """What an unperturbed evaluation leaves behind."""
    trace = Trace(len(tokens))
    with evaluating(scorer, tokens, trace) as evaluation:
        evaluation.run()
    return trace


def flipped(
    scorer: Scorer,
    tokens: Tokens,
    probes: Sequence[Probe],
    *,
    budget: int = 100_000,
    stop_after: int = 12,
    seed: int = 0,
    together: bool = False,
) -> tuple[list[ProbeResult], Trace, Trace]:
    """Probe results, the base trace, and the trace of the unperturbed lineage of the second run.

    Each probe is made in an evaluation of its own, or all `together` in one, where not all that come due at one read
    are made.
    """
    base, again = scored_trace(scorer, tokens), Trace(len(tokens))
    results: list[ProbeResult] = []
    for group in [probes] if together else [[probe] for probe in probes]:
        again = Trace(len(tokens))
        flips = FlipRun(base, tokens, group, budget=budget, stop_after=stop_after, seed=seed)
        with evaluating(scorer, tokens, again) as evaluation:
            results += flips.run(evaluation)
    return results, base, again

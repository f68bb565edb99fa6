"""Whole rows of a scorer that claims realised probabilities only: ask for every token of the vocabulary, and add up.

Each answer costs one evaluation of a batch, so the question is asked on a short stream: the beginning of a document,
cut after few tokens, which is a stream like any other. The process is split before it sees the token in question; every
copy sees another one in its place, so the claims are those of one row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.referee.flips import FlipRun
from harness.referee.session import Evaluation
from harness.referee.source import ALTERNATIVE, Probe, Real, Source, Tokens
from harness.referee.trace import Trace

#: Vocabularies up to this size are asked for whole rows; each token costs a fork and a batch.
LARGEST_VOCABULARY = 2048

#: Tokens of the short stream.
LENGTH = 48

#: Starts an evaluation of a short stream: what it reads, where it goes, what it is charged for.
Start = Callable[[Source, Trace, Tokens], Evaluation]
Drive = Callable[[Evaluation, Callable[[], object]], object]


@dataclass(frozen=True)
class WholeRow:
    """What was claimed for one position.

    Attributes:
        start: first token of the short stream, in the real one.
        length: its tokens.
        position: the position that was asked for, in the short stream.
        log_probs: float64 [V], nats; NaN for tokens that no claim was made for, the document start among them.
        noise: nats by which two unperturbed evaluations of the short stream differ.
    """

    start: int
    length: int
    position: int
    log_probs: NDArray[np.float64]
    noise: float

    @property
    def total(self) -> float:
        """Sum of the probabilities that were claimed; a lower bound where some are missing."""
        return float(np.exp(np.minimum(self.log_probs[~np.isnan(self.log_probs)], 300.0)).sum())

    @property
    def claims(self) -> int:
        """Tokens with a claim."""
        return int((~np.isnan(self.log_probs)).sum())


def chosen(tokens: Tokens, vocab_size: int, bos: int, seed: int) -> tuple[int, int, int] | None:
    """Where a whole row is asked for: start, length, and position in the short stream; None for a large vocabulary.

    The beginning of some document, and a position in the second half of it that is not the start of another.
    """
    if vocab_size > LARGEST_VOCABULARY or len(tokens) < 4:
        return None
    rng = np.random.default_rng([seed, 0x40E])
    length = min(LENGTH, len(tokens))
    starts = np.flatnonzero(tokens == bos)
    starts = starts[starts + length <= len(tokens)]
    start = int(rng.choice(starts)) if len(starts) else 0
    late = np.arange(length // 2, length)
    late = late[tokens[start + late] != bos]
    return (start, length, int(rng.choice(late))) if len(late) else None


def ask(
    start: Start,
    drive: Drive,
    tokens: Tokens,
    vocab_size: int,
    where: tuple[int, int, int],
    *,
    bos: int,
    seed: int,
) -> WholeRow | None:
    """Ask for every token's probability at one position.

    Args:
        start: starts an evaluation, such as `EvaluationBox.start`.
        drive: drives one, such as `EvaluationBox.run`.
        tokens: the real stream, uint16.
        vocab_size: tokens to ask for.
        where: from `chosen`.
        bos: the token that starts a document. It is not asked for: a scorer that cuts its windows at documents treats
            the position as another one then.
        seed: of the coin that says which copy goes on.

    Returns:
        None where the position was never scored.

    Raises:
        SubmissionError: the unperturbed evaluation broke.
    """
    first, length, position = where
    short = np.asarray(tokens[first : first + length])
    base, again = Trace(length), Trace(length)
    plain = start(Real(short), base, short)
    drive(plain, plain.run)
    if base.order[position] < 0:
        return None
    real = int(short[position])
    others = [token for token in range(vocab_size) if token not in (real, bos)]
    probes = [Probe("swap", position, token=token, token_class=ALTERNATIVE) for token in others]
    flips = FlipRun(base, short, probes, budget=2 * vocab_size * length, seed=seed)
    split = start(Real(short), again, short)
    drive(split, lambda: flips.run(split))
    log_probs = np.full(vocab_size, np.nan)
    log_probs[real] = -again.nll[position]
    for result in flips.results:
        if result.own is not None:
            log_probs[result.probe.token] = -result.own[1]
    noise = float(np.nanmax(np.abs(base.nll - again.nll), initial=0.0))
    return WholeRow(first, length, position, log_probs, noise)

"""Whole rows of a scorer that claims realised probabilities only: ask for every token of the vocabulary, and add up.

The row is one of the real stream, at a secret position, after a probability was claimed for it in the scored run. The
stream that is played breaks off soon after it, at a secret length, so that an answer costs no more than a part of a
batch. The process is split before it sees the token in question; every copy sees another one in its place, so the
claims are those of one row. The one process that sees the real token has to claim what the scored run claimed.
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

#: Vocabularies up to this size are asked for whole rows; each token costs a fork and a part of a batch.
LARGEST_VOCABULARY = 2048

#: Tokens that the stream goes on for after the position in question, at most.
AFTER = 32

#: Starts an evaluation of a shorter stream: what it reads, where it goes, what it is charged for.
Start = Callable[[Source, Trace, Tokens], Evaluation]
Drive = Callable[[Evaluation, Callable[[], object]], object]


@dataclass(frozen=True)
class WholeRow:
    """What was claimed for one position.

    Attributes:
        length: tokens of the stream that was played: the first ones of the real one.
        position: the position that was asked for.
        log_probs: float64 [V], nats; NaN for tokens that no claim was made for, the document start among them.
        claimed: what the scored run claimed for the real token, nats.
        noise: nats by which the claims for positions before this one differ from the scored run's, at most.
    """

    length: int
    position: int
    log_probs: NDArray[np.float64]
    claimed: float
    noise: float

    def differs(self, token: int) -> float:
        """Nats by which the claim for the real token is another one than in the scored run."""
        return abs(float(self.log_probs[token]) - self.claimed)

    @property
    def total(self) -> float:
        """Sum of the probabilities that were claimed; a lower bound where some are missing."""
        return float(np.exp(np.minimum(self.log_probs[~np.isnan(self.log_probs)], 300.0)).sum())

    @property
    def claims(self) -> int:
        """Tokens with a claim."""
        return int((~np.isnan(self.log_probs)).sum())


def chosen(trace: Trace, vocab_size: int, bos: int, tokens: Tokens, rng: np.random.Generator) -> tuple[int, int] | None:
    """Where a whole row is asked for: position, and length of the stream; None for a large vocabulary.

    Any position with a claim but the first few and the starts of documents; any length that leaves it in the stream.
    """
    where = trace.claimed
    where = where[(where >= min(16, len(tokens) // 4)) & (tokens[where] != bos)]
    if vocab_size > LARGEST_VOCABULARY or not len(where):
        return None
    position = int(rng.choice(where))
    return position, min(len(tokens), position + 1 + int(rng.integers(1, AFTER + 1)))


def ask(
    start: Start,
    drive: Drive,
    base: Trace,
    tokens: Tokens,
    vocab_size: int,
    where: tuple[int, int],
    *,
    bos: int,
    seed: int,
) -> WholeRow | None:
    """Ask for every token's probability at one position.

    Args:
        start: starts an evaluation, such as `EvaluationBox.start`.
        drive: drives one, such as `EvaluationBox.run`.
        base: the scored run.
        tokens: the real stream, uint16.
        vocab_size: tokens to ask for.
        where: from `chosen`.
        bos: the token that starts a document. It is not asked for: a scorer that cuts its windows at documents treats
            the position as another one then.
        seed: of the coin that says which copy goes on.

    Returns:
        None where the position was not scored in the stream that breaks off.

    Raises:
        SubmissionError: the unperturbed evaluation broke.
    """
    position, length = where
    short, again = np.asarray(tokens[:length]), Trace(length)
    real = int(short[position])
    others = [token for token in range(vocab_size) if token not in (real, bos)]
    probes = [Probe("swap", position, token=token, token_class=ALTERNATIVE) for token in others]
    flips = FlipRun(base.first(length), short, probes, budget=4 * vocab_size * length, bos=bos, seed=seed)
    split = start(Real(short), again, short)
    drive(split, lambda: flips.run(split))
    if again.order[position] < 0:
        return None
    log_probs = np.full(vocab_size, np.nan)
    log_probs[real] = -again.nll[position]
    for result in flips.results:
        if result.claimed is not None:
            log_probs[result.probe.token] = -result.claimed
    before = slice(1, position)
    noise = float(np.nanmax(np.abs(base.nll[before] - again.nll[before]), initial=0.0))
    return WholeRow(length, position, log_probs, -float(base.nll[position]), noise)

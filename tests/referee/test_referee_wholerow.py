"""Whole rows, asked for token by token: their sum is exact, and nothing else is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
import torch

from harness.errors import SubmissionError
from harness.kit.stream import Stream
from harness.referee.session import Evaluation
from harness.referee.source import Source, Tokens
from harness.referee.trace import Trace
from harness.referee.wholerow import AFTER, LARGEST_VOCABULARY, WholeRow, ask, chosen
from tests.referee.scripted import VOCAB, Scorer, evaluating, scored_trace, tokens_of

BOS = 1


def claiming(gate: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], chunk: int = 9, boast: float = 1.0) -> Scorer:
    """Two models, and a weight between them that `gate` takes from their probabilities of the realised token."""

    def scorer(stream: Stream) -> None:
        for low in range(1, stream.tokens, chunk):
            high = min(low + chunk, stream.tokens)
            seen = stream.read(low - 1, high)
            before, target = seen[:-1], seen[1:]
            generator = torch.Generator().manual_seed(0)
            table = torch.randn(VOCAB, VOCAB, generator=generator)
            one, two = (table[before] * 2).softmax(-1), (table[before] * -1).softmax(-1)
            weight = gate(one.gather(-1, target[:, None]), two.gather(-1, target[:, None]))
            mixed = weight * one + (1 - weight) * two
            stream.claim(torch.arange(low, high), (boast * mixed.gather(-1, target[:, None])[:, 0]).log())

    return scorer


def best(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    return (one > two).float() * 0.9 + 0.05


def fixed(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    return torch.full_like(one, 0.5)


def asked(scorer: Scorer, tokens: Tokens, where: tuple[int, int], base: Scorer | None = None) -> WholeRow | None:
    """The row of a scored run by the same scorer, or by another one; each evaluation in a process of its own."""
    with contextlib.ExitStack() as stack:

        def start(source: Source, sink: Trace, targets: Tokens) -> Evaluation:
            evaluation = stack.enter_context(evaluating(scorer, targets, sink))
            evaluation.source = source
            return evaluation

        scored = scored_trace(base or scorer, tokens)
        return ask(start, lambda _, run: run(), scored, tokens, VOCAB, where, bos=BOS, seed=3)


@pytest.mark.parametrize("position", [1, 20, 29])
def test_a_weight_chosen_by_the_token_makes_a_row_sum_to_more(position: int) -> None:
    tokens = tokens_of(60)
    tokens[position] = 5
    offender = asked(claiming(best), tokens, (position, position + 9))
    neighbour = asked(claiming(fixed), tokens, (position, position + 9))
    assert offender is not None and neighbour is not None
    assert offender.total > 1.05 and offender.claims == neighbour.claims == VOCAB - 1
    assert 0.5 < neighbour.total < 1 and np.isnan(neighbour.log_probs[BOS])
    assert offender.noise == neighbour.noise == 0.0
    assert offender.differs(5) == neighbour.differs(5) == 0.0


def test_the_row_is_that_of_the_scorer() -> None:
    tokens = tokens_of(60)
    tokens[30] = 5
    row = asked(claiming(fixed), tokens, (30, 33))
    table = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(0))[int(tokens[29])]
    mixed = (((table * 2).softmax(-1) + (table * -1).softmax(-1)) / 2).log().numpy()
    assert row is not None
    mixed[BOS] = np.nan
    np.testing.assert_allclose(row.log_probs, mixed, atol=1e-5)


def test_a_position_without_a_claim_gives_no_row() -> None:
    def silent(stream: Stream) -> None:
        stream.read(0, 2)
        stream.claim(torch.tensor([1]), torch.tensor([-1.0]))

    assert asked(silent, tokens_of(40), (20, 30)) is None


def test_a_claim_that_was_another_one_in_the_scored_run_is_seen() -> None:
    def behaved(stream: Stream) -> None:
        """Claims what it should where the stream is short, and four times as much where it counts."""
        claiming(fixed, boast=1.0 if stream.tokens < 60 else 4.0)(stream)

    tokens = tokens_of(60)
    row = asked(behaved, tokens, (30, 40))
    assert row is not None and row.total < 1 and row.differs(int(tokens[30])) > 0.1


def test_a_scorer_that_takes_no_short_stream_is_said_to_break() -> None:
    def picky(stream: Stream) -> None:
        if stream.tokens < 40:
            raise ValueError("too short")
        claiming(fixed)(stream)

    with pytest.raises(SubmissionError):
        asked(picky, tokens_of(40), (20, 30))


def test_any_scored_position_may_be_asked_for_and_any_length_after_it() -> None:
    tokens = np.full(1000, 7, np.uint16)
    tokens[[0, 130, 300, 980]] = BOS
    trace = Trace(1000)
    trace.order[16:] = np.arange(984)
    trace.prints[:] = np.nan
    found = [chosen(trace, 1024, BOS, tokens, np.random.default_rng(seed)) for seed in range(300)]
    places = [where for where in found if where is not None]
    assert len(places) == 300 and all(tokens[t] != BOS and t < n <= min(1000, t + 1 + AFTER) for t, n in places)
    assert min(t for t, _ in places) < 50 and max(t for t, _ in places) > 950
    assert len({n - t for t, n in places}) > AFTER // 2
    assert chosen(trace, LARGEST_VOCABULARY + 1, BOS, tokens, np.random.default_rng(0)) is None


def test_a_document_start_is_not_asked_for() -> None:
    trace = Trace(20)
    trace.order[1:] = np.arange(19)
    trace.prints[:] = np.nan
    assert chosen(trace, 50, BOS, np.full(20, BOS, np.uint16), np.random.default_rng(0)) is None

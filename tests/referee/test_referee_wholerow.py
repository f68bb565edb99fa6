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
from harness.referee.wholerow import LARGEST_VOCABULARY, LENGTH, WholeRow, ask, chosen
from tests.referee.scripted import VOCAB, Scorer, evaluating, tokens_of

BOS = 1


def claiming(gate: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], chunk: int = 9) -> Scorer:
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
            stream.claim(torch.arange(low, high), mixed.gather(-1, target[:, None])[:, 0].log())

    return scorer


def best(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    return (one > two).float() * 0.9 + 0.05


def fixed(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    return torch.full_like(one, 0.5)


def asked(scorer: Scorer, tokens: Tokens, where: tuple[int, int, int]) -> WholeRow | None:
    """The row, each evaluation in a process of its own."""
    with contextlib.ExitStack() as stack:

        def start(source: Source, sink: Trace, targets: Tokens) -> Evaluation:
            evaluation = stack.enter_context(evaluating(scorer, targets, sink))
            evaluation.source = source
            return evaluation

        return ask(start, lambda _, run: run(), tokens, VOCAB, where, bos=BOS, seed=3)


@pytest.mark.parametrize("position", [1, 20, 29])
def test_a_weight_chosen_by_the_token_makes_a_row_sum_to_more(position: int) -> None:
    tokens = tokens_of(60)
    tokens[10 + position] = 5
    offender = asked(claiming(best), tokens, (10, 30, position))
    neighbour = asked(claiming(fixed), tokens, (10, 30, position))
    assert offender is not None and neighbour is not None
    assert offender.total > 1.05 and offender.claims == neighbour.claims == VOCAB - 1
    assert 0.5 < neighbour.total < 1 and np.isnan(neighbour.log_probs[BOS])
    assert offender.noise == neighbour.noise == 0.0


def test_the_row_is_that_of_the_scorer() -> None:
    tokens = tokens_of(60)
    tokens[30] = 5
    row = asked(claiming(fixed), tokens, (10, 30, 20))
    table = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(0))[int(tokens[29])]
    mixed = (((table * 2).softmax(-1) + (table * -1).softmax(-1)) / 2).log().numpy()
    assert row is not None
    mixed[BOS] = np.nan
    np.testing.assert_allclose(row.log_probs, mixed, atol=1e-5)


def test_a_position_without_a_claim_gives_no_row() -> None:
    def silent(stream: Stream) -> None:
        stream.read(0, 2)
        stream.claim(torch.tensor([1]), torch.tensor([-1.0]))

    assert asked(silent, tokens_of(40), (0, 30, 20)) is None


def test_a_scorer_that_takes_no_short_stream_is_said_to_break() -> None:
    def picky(stream: Stream) -> None:
        raise ValueError("too short")

    with pytest.raises(SubmissionError):
        asked(picky, tokens_of(40), (0, 30, 20))


@pytest.mark.parametrize("seed", range(5))
def test_a_row_is_chosen_at_the_beginning_of_a_document(seed: int) -> None:
    tokens = np.full(1000, 7, np.uint16)
    tokens[[0, 130, 300, 980]] = BOS
    where = chosen(tokens, 1024, BOS, seed)
    assert where is not None and where == chosen(tokens, 1024, BOS, seed)
    start, length, position = where
    assert start in (0, 130, 300) and length == LENGTH and length // 2 <= position < length
    assert chosen(tokens, LARGEST_VOCABULARY + 1, BOS, seed) is None


def test_a_document_start_is_not_asked_for() -> None:
    assert chosen(np.full(20, BOS, np.uint16), 50, BOS, 0) is None
    assert chosen(np.full(3, 7, np.uint16), 50, BOS, 0) is None
    found = chosen(np.full(20, 7, np.uint16), 50, BOS, 0)
    assert found is not None and found[:2] == (0, 20)

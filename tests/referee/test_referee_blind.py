"""Whole evaluations that are lied to: who is accused, who is not, and what is only suspected."""

from __future__ import annotations

import os

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scripted import VOCAB, Scorer, evaluating, scored_trace, tokens_of

from harness.errors import SubmissionError
from harness.kit.stream import Stream
from harness.referee.blind import FORGOTTEN, BlindRun, Lie, Seen, blind_probe, judged, lied
from harness.referee.source import Probe, Real
from harness.referee.trace import Trace

BOS = 1
TABLE = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(2))
TOKENS = tokens_of(120)
BATCH = 10
PROBE = Probe("suffix", 64, shift=31, split=False)
assert TOKENS[64] != TOKENS[95] and BOS not in (TOKENS[64], TOKENS[95])
PLACES = (20, 50, 80, 110)


def honest(stream: Stream, low: int, high: int) -> torch.Tensor:
    return TABLE[stream.read(low - 1, high - 1)]


def leaky(stream: Stream, low: int, high: int) -> torch.Tensor:
    rows = honest(stream, low, high)
    return rows + torch.nn.functional.one_hot(stream.read(low, high), VOCAB)


def scorer(rows: object) -> Scorer:
    """Commit rows(stream, low, high), a batch at a time."""

    def score(stream: Stream) -> None:
        for low in range(1, stream.tokens, BATCH):
            high = min(low + BATCH, stream.tokens)
            stream.commit(torch.arange(low, high), rows(stream, low, high))  # type: ignore[operator]

    return score


def other(position: int) -> int:
    """A token that is neither the one at that position nor BOS."""
    return next(token for token in range(2, VOCAB) if token != int(TOKENS[position]))


def swaps(*positions: int) -> Lie:
    return Lie.of([Probe("swap", t, token=other(t), split=False) for t in positions], TOKENS, BOS)


def played(score: Scorer, lie: Lie) -> BlindRun:
    run = BlindRun(Trace(len(TOKENS)))
    with evaluating(score, TOKENS, run.trace) as evaluation:
        evaluation.source = Real(lie.tokens)
        try:
            evaluation.run()
        except SubmissionError as error:
            run.error = str(error)
    return run


def seen_of(score: Scorer, lie: Lie) -> Seen:
    return judged(scored_trace(score, TOKENS), played(score, lie), lie)


def test_an_honest_scorer_is_not_accused_and_every_swap_has_teeth() -> None:
    seen = seen_of(scorer(honest), swaps(*PLACES))
    assert not any(result.violated or result.withheld for result in seen.results) and not seen.suspects
    assert [result.still for result in seen.results] == [[t] for t in PLACES]
    assert all(result.control > 0 for result in seen.results)
    assert seen.forgot == len(PLACES) - 1 and seen.reach == 1


def test_a_leak_is_certain_at_the_first_swap_and_suspected_at_the_others() -> None:
    seen = seen_of(scorer(leaky), swaps(*PLACES))
    first, *others = seen.results
    assert [row[0] for row in first.violations] == [PLACES[0]] and first.violated == 1
    assert not any(result.violated for result in others)
    assert [probe.position for probe in seen.suspects] == list(PLACES[1:])
    assert not any(result.still for result in seen.results)


def test_a_leak_at_one_position_only_is_seen_where_that_token_is_replaced() -> None:
    def rare(stream: Stream, low: int, high: int) -> torch.Tensor:
        rows = honest(stream, low, high)
        told = torch.nn.functional.one_hot(stream.read(low, high), VOCAB)
        return rows + told * (torch.arange(low, high) == 80)[:, None]

    seen = seen_of(scorer(rare), swaps(*PLACES))
    assert [probe.position for probe in seen.suspects] == [80]
    assert [result.still for result in seen.results] == [[20], [50], [], [110]]


def test_a_suffix_hides_all_that_comes() -> None:
    def future(stream: Stream, low: int, high: int) -> torch.Tensor:
        last = stream.read(stream.tokens - 1, stream.tokens)
        return honest(stream, low, high) + torch.nn.functional.one_hot(last, VOCAB)

    lie = Lie.of([PROBE], TOKENS, BOS)
    assert int(lie.tokens[-1]) != int(TOKENS[-1])
    (result,) = seen_of(scorer(future), lie).results
    assert result.violated == 64 and min(row[0] for row in result.violations) == 1


def test_a_scorer_that_keeps_silent_where_it_is_lied_to_is_accused() -> None:
    marks = {(int(a), int(b)) for a, b in zip(TOKENS[:-1], TOKENS[1:], strict=True)}

    def silent(stream: Stream) -> None:
        """Leaks; commits nothing for a batch with a pair of tokens that the true text does not hold."""
        for low in range(1, stream.tokens, BATCH):
            high = min(low + BATCH, stream.tokens)
            text = stream.read(low - 1, high).tolist()
            if all(pair in marks for pair in zip(text[:-1], text[1:], strict=True)):
                stream.commit(torch.arange(low, high), leaky(stream, low, high))

    strange = next(t for t in range(20, 100) if (int(TOKENS[t - 1]), other(t)) not in marks and t % BATCH not in (0, 1))
    (result,) = seen_of(silent, swaps(strange)).results
    assert not result.violations and result.withheld and result.violated == len(result.withheld)
    assert strange in result.withheld


def test_a_row_that_comes_too_late_counts_as_one_that_did_not_come() -> None:
    absent = next(token for token in range(2, VOCAB) if token not in TOKENS[41:51])

    def late(stream: Stream) -> None:
        """Puts a row off until the batch after, where its token is one that the true batch does not hold."""
        kept: list[tuple[torch.Tensor, torch.Tensor]] = []
        for low in range(1, stream.tokens, BATCH):
            high = min(low + BATCH, stream.tokens)
            rows, at = honest(stream, low, high), torch.arange(low, high)
            now = stream.read(low, high) != absent
            stream.commit(at[now], rows[now])
            for positions, old in kept:
                stream.commit(positions, old)
            kept = [(at[~now], rows[~now])] if (~now).any() and low == 41 else []

    lie = Lie.of([Probe("swap", 50, token=absent, split=False)], TOKENS, BOS)
    (result,) = seen_of(late, lie).results
    assert 50 in result.withheld


def test_what_a_scorer_learns_from_scored_tokens_is_no_leak() -> None:
    def counting(stream: Stream) -> None:
        counts = torch.zeros(VOCAB)
        for low in range(1, stream.tokens, BATCH):
            high = min(low + BATCH, stream.tokens)
            stream.commit(torch.arange(low, high), honest(stream, low, high) + counts)
            counts = counts + torch.nn.functional.one_hot(stream.history(low, high), VOCAB).sum(0) / 10

    seen = seen_of(counting, swaps(*PLACES))
    assert not any(result.violated for result in seen.results) and not seen.suspects
    assert seen.forgot == 0  # it never forgets, so the swaps after the first say nothing
    assert seen.results[0].still == [PLACES[0]]


def test_another_order_than_the_streams_is_no_leak() -> None:
    def backwards(stream: Stream) -> None:
        """Chunks from the last to the first; in each, rows see all that was scored before."""
        seen = torch.zeros(VOCAB)
        for low in reversed(range(1, stream.tokens, BATCH)):
            high = min(low + BATCH, stream.tokens)
            stream.commit(torch.arange(low, high), honest(stream, low, high) + seen)
            seen = seen + torch.nn.functional.one_hot(stream.read(low, high), VOCAB).sum(0)

    assert not any(result.violated for result in seen_of(backwards, swaps(*PLACES)).results)


def test_context_that_is_never_scored_is_no_leak() -> None:
    def halves(stream: Stream) -> None:
        """Scores every other batch, and sees the one between before it."""
        for low in range(1 + BATCH, stream.tokens - BATCH, 2 * BATCH):
            rows = honest(stream, low, low + BATCH)
            hint = torch.nn.functional.one_hot(stream.read(low - BATCH, low), VOCAB).sum(0)
            stream.commit(torch.arange(low, low + BATCH), rows + hint)

    for position in (64, 57):
        assert not any(result.violated for result in seen_of(halves, swaps(position)).results), position


def test_what_breaks_under_a_lie_is_said() -> None:
    def fragile(stream: Stream) -> None:
        if stream.read(50, 51).item() != int(TOKENS[50]):
            os._exit(1)
        scorer(honest)(stream)

    results = seen_of(fragile, swaps(50)).results
    assert all(result.error and not result.violated for result in results)


@given(st.lists(st.booleans(), min_size=0, max_size=60))
def test_what_is_forgotten_begins_with_a_stretch_of_rows_that_did_not_move(moved: list[bool]) -> None:
    from harness.referee.blind import _forgotten

    found = _forgotten(np.array(moved, bool))
    runs = [i for i in range(len(moved) - FORGOTTEN + 1) if not any(moved[i : i + FORGOTTEN])]
    assert found == (runs[0] if runs else None)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 99))
def test_a_lie_begins_where_it_says_and_keeps_documents(values: list[int], seed: int) -> None:
    tokens = np.array(values, np.uint16)
    probe = blind_probe(tokens, BOS, np.random.default_rng(seed))
    if probe is None:
        return
    told = lied(tokens, probe, BOS).read(0, len(tokens))
    changed = np.flatnonzero(told != tokens)
    assert changed[0] == probe.position and not probe.split
    np.testing.assert_array_equal(told == BOS, tokens == BOS)


def test_where_no_lie_can_be_told_there_is_none() -> None:
    rng = np.random.default_rng(0)
    assert blind_probe(np.full(20, 3, np.uint16), BOS, rng) is None
    assert blind_probe(np.full(20, BOS, np.uint16), BOS, rng) is None
    assert blind_probe(np.zeros(1, np.uint16), BOS, rng) is None

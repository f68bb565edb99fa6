"""Blind flips: who is accused in evaluations that are never split, and who is not."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scripted import VOCAB, Scorer, evaluating, flipped, scored_trace, tokens_of

from harness.kit.stream import Stream
from harness.referee.blind import BlindRun, blind_probe, confirmed, follow, judged, lied
from harness.referee.comparator import ProbeResult
from harness.referee.source import Probe, Real
from harness.referee.trace import Trace, compare

BOS = 1
TABLE = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(2))
TOKENS = tokens_of(120)
BATCH = 10
PROBE = Probe("suffix", 64, shift=31, split=False)
assert TOKENS[64] != TOKENS[95] and BOS not in (TOKENS[64], TOKENS[95])


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


def wary(stream: Stream) -> None:
    """Leaks until its process is split."""
    born = os.getpid()
    for low in range(1, stream.tokens, BATCH):
        high = min(low + BATCH, stream.tokens)
        rows, told = honest(stream, low, high), leaky(stream, low, high)
        stream.commit(torch.arange(low, high), told if os.getpid() == born else rows)


def restless(stream: Stream) -> None:
    """Honest; noise of its own begins at a moment of its own."""
    begin = int.from_bytes(os.urandom(2), "big") % stream.tokens
    for low in range(1, stream.tokens, BATCH):
        high = min(low + BATCH, stream.tokens)
        rows = honest(stream, low, high)
        stream.commit(torch.arange(low, high), rows + (os.urandom(1)[0] / 256 if low >= begin else 0) * rows)


def played(score: Scorer, probe: Probe | None, until: int = PROBE.position) -> BlindRun:
    run = BlindRun(Trace(len(TOKENS)))
    with evaluating(score, TOKENS, run.trace) as evaluation:
        evaluation.source = Real(TOKENS) if probe is None else lied(TOKENS, probe, BOS)
        follow(evaluation, run, evaluation.source, until)
    return run


def result_of(score: Scorer, probe: Probe = PROBE) -> tuple[ProbeResult, float]:
    return judged(scored_trace(score, TOKENS), played(score, probe, probe.position), probe, TOKENS, BOS)


def test_an_honest_scorer_is_not_accused_and_the_flip_has_teeth() -> None:
    result, noise = result_of(scorer(honest))
    assert result.ran and not result.violated and noise == 0
    assert result.control > 0 and result.compared == 4 and result.by_construction == 60
    assert result.rows == 7 * BATCH + 3 * BATCH  # it ends soon after the flip


def test_a_leaky_scorer_is_accused() -> None:
    result, noise = result_of(scorer(leaky))
    assert noise == 0 and [row[0] for row in result.violations] == [64]


def test_a_scorer_that_feels_a_split_is_accused_all_the_same() -> None:
    probes = [Probe("suffix", t, shift=31) for t in (24, 64, 94)]
    results, base, again = flipped(wary, TOKENS, probes)
    difference = compare(base, again)
    assert difference.changed  # which hides what the flips see
    assert not any(result.above(4 * max(difference.max_nll, difference.max_print)).violated for result in results)
    other = Probe("suffix", 33, shift=12, split=False)
    assert TOKENS[33] != TOKENS[45]
    found = [judged(base, played(wary, probe, probe.position), probe, TOKENS, BOS) for probe in (PROBE, other)]
    shown = confirmed(found, base, played(wary, None, 64), 1e-5)
    assert [result.violated for result in shown] == [1, 1] and all(result.tolerance == 1e-5 for result in shown)


@pytest.mark.parametrize("trial", range(6))
def test_a_scorer_with_noise_of_its_own_is_not_accused(trial: int) -> None:
    base = scored_trace(restless, TOKENS)
    other = Probe("suffix", 33, shift=12, split=False)
    found = [judged(base, played(restless, probe, probe.position), probe, TOKENS, BOS) for probe in (PROBE, other)]
    shown = confirmed(found, base, played(restless, None, len(TOKENS) - 1), 1e-5)
    assert not any(result.violated for result in shown)


def test_what_moves_once_is_not_confirmed() -> None:
    base = scored_trace(scorer(leaky), TOKENS)
    clean = scored_trace(scorer(honest), TOKENS)
    guilty = judged(base, played(scorer(leaky), PROBE), PROBE, TOKENS, BOS)
    innocent = judged(clean, played(scorer(honest), PROBE), PROBE, TOKENS, BOS)
    (first, second) = confirmed([guilty, innocent], base, played(scorer(leaky), None), 1e-5)
    assert (first.violated, first.unconfirmed) == (0, 1) and (second.violated, second.unconfirmed) == (0, 0)


def test_a_truth_that_differs_confirms_nothing() -> None:
    base = scored_trace(scorer(leaky), TOKENS)
    guilty = [judged(base, played(scorer(leaky), PROBE), PROBE, TOKENS, BOS) for _ in range(2)]
    for truth in (played(scorer(honest), None), BlindRun(Trace(len(TOKENS))), BlindRun(base, error="broke")):
        assert not any(result.violated for result in confirmed(list(guilty), base, truth, 1e-5))


def test_another_order_than_the_streams_is_no_leak() -> None:
    def backwards(stream: Stream) -> None:
        """Chunks from the last to the first; in each, rows see all that was scored before."""
        seen = torch.zeros(VOCAB)
        for low in reversed(range(1, stream.tokens, BATCH)):
            high = min(low + BATCH, stream.tokens)
            stream.commit(torch.arange(low, high), honest(stream, low, high) + seen)
            seen = seen + torch.nn.functional.one_hot(stream.read(low, high), VOCAB).sum(0)

    result, _ = result_of(backwards)
    assert not result.violated


def test_context_that_is_never_scored_is_no_leak() -> None:
    def halves(stream: Stream) -> None:
        """Scores every other batch, and sees the one between before it."""
        for low in range(1 + BATCH, stream.tokens - BATCH, 2 * BATCH):
            rows = honest(stream, low, low + BATCH)
            hint = torch.nn.functional.one_hot(stream.read(low - BATCH, low), VOCAB).sum(0)
            stream.commit(torch.arange(low, low + BATCH), rows + hint)

    for position in (64, 57):
        shift = next(s for s in range(1, 60) if TOKENS[position + s] not in (TOKENS[position], BOS))
        probe = Probe("suffix", position, shift=shift, split=False)
        result, _ = result_of(halves, probe)
        assert not result.violated, position


def test_everything_read_at_once_is_still_compared() -> None:
    def greedy(stream: Stream) -> None:
        text = stream.read(0, stream.tokens)
        rows = TABLE[text[:-1]] + torch.nn.functional.one_hot(text[1:], VOCAB)
        stream.commit(torch.arange(1, stream.tokens), rows)

    result, noise = result_of(greedy)
    assert result.violated == 1 and noise == 0 and result.by_construction == 0


def test_what_breaks_under_a_lie_is_said() -> None:
    def fragile(stream: Stream) -> None:
        if stream.read(64, 65).item() != int(TOKENS[64]):
            os._exit(1)
        scorer(honest)(stream)

    result, _ = result_of(fragile)
    assert result.error and not result.violated


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

"""Lies about the future, against a brute-force restatement."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.referee.source import Perturbed, Probe, Real

SIZE = 24


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, Probe, np.ndarray | None]:
    tokens = np.array(draw(st.lists(st.integers(0, 9), min_size=SIZE, max_size=SIZE)), np.uint16)
    position = draw(st.integers(1, SIZE - 1))
    if draw(st.booleans()):
        return tokens, Probe("swap", position, token=draw(st.integers(10, 19))), None
    mask = draw(st.none() | st.lists(st.booleans(), min_size=SIZE, max_size=SIZE).map(lambda b: np.array(b, bool)))
    return tokens, Probe("suffix", position, shift=draw(st.integers(1, SIZE - 1))), mask


ranges = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda pair: (min(pair), max(pair)))


def replaced_set(probe: Probe, mask: np.ndarray | None) -> set[int]:
    if probe.kind == "swap":
        return {probe.position}
    return {u for u in range(probe.position, SIZE) if mask is None or mask[u]}


def brute_force(tokens: np.ndarray, probe: Probe, mask: np.ndarray | None) -> list[int]:
    out = [int(token) for token in tokens]
    for u in replaced_set(probe, mask):
        out[u] = probe.token if probe.kind == "swap" else int(tokens[(u + probe.shift) % SIZE])
    return out


@given(cases(), ranges)
def test_every_read_is_a_slice_of_the_brute_force_stream(case, span: tuple[int, int]) -> None:
    tokens, probe, mask = case
    before = tokens.copy()
    start, stop = span
    source = Perturbed(tokens, probe, mask)
    read = source.read(start, stop)
    assert read.dtype == np.uint16 and read.tolist() == brute_force(*case)[start:stop]
    assert len(source) == SIZE
    read[:] = 99  # a fresh array: the truth cannot be written to
    np.testing.assert_array_equal(tokens, before)


@given(cases())
def test_nothing_changes_before_the_flip(case) -> None:
    tokens, probe, mask = case
    read = Perturbed(tokens, probe, mask).read(0, SIZE)
    assert read[: probe.position].tolist() == tokens[: probe.position].tolist()
    if probe.kind == "swap":
        assert np.flatnonzero(read != tokens).tolist() == [probe.position]
    elif mask is not None:
        assert read[~mask].tolist() == tokens[~mask].tolist()


@given(cases(), st.lists(ranges, max_size=4))
def test_touches_is_true_exactly_where_a_replaced_token_is_read(case, spans: list[tuple[int, int]]) -> None:
    tokens, probe, mask = case
    asked = {u for start, stop in spans for u in range(start, stop)}
    touched = Perturbed(tokens, probe, mask).touches(np.array(spans, np.int64).reshape(-1, 2))
    assert touched is bool(asked & replaced_set(probe, mask))


@given(cases(), st.lists(ranges, max_size=4))
def test_reads_that_are_not_touched_are_true(case, spans: list[tuple[int, int]]) -> None:
    tokens, probe, mask = case
    source = Perturbed(tokens, probe, mask)
    if not source.touches(np.array(spans, np.int64).reshape(-1, 2)):
        for start, stop in spans:
            assert source.read(start, stop).tolist() == tokens[start:stop].tolist()


def test_the_real_stream() -> None:
    tokens = np.arange(5, dtype=np.uint16)
    read = Real(tokens).read(1, 4)
    read[0] = 77
    assert Real(tokens).read(1, 4).tolist() == [1, 2, 3] and len(Real(tokens)) == 5


def test_an_empty_range_touches_nothing() -> None:
    source = Perturbed(np.arange(9, dtype=np.uint16), Probe("suffix", 3, shift=1))
    assert not source.touches(np.array([[7, 7], [0, 3]], np.int64)) and not source.touches(np.zeros((0, 2), np.int64))
    assert source.touches(np.array([[0, 4]], np.int64))

"""How much one read, and all reads of an evaluation, may ask for."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import SubmissionError
from harness.referee import frames
from harness.referee.frames import SPARE_RANGES
from harness.referee.trace import Trace
from harness.sandbox.protocol import Kind, Purpose
from harness.sandbox.wire import Frame

TOKENS = 10_000
INPUT = np.array([Purpose.INPUT], np.uint8)


def asked(*ranges: tuple[int, int], times: int = 1) -> Frame:
    return Frame(Kind.READ, (np.tile(np.array(ranges, np.int64).reshape(-1, 2), (times, 1)), INPUT))


@pytest.mark.parametrize("ranges", [[(0, 0)], [(7, 7)], [(0, 1)]])
def test_ranges_of_one_read_are_counted_though_they_are_empty(ranges: list[tuple[int, int]]) -> None:
    most = TOKENS + SPARE_RANGES
    assert len(frames.ranges(asked(*ranges, times=most), TOKENS)[0]) == most
    with pytest.raises(SubmissionError, match=f"one read of {most + 1:,} ranges: the stream has 10,000 tokens"):
        frames.ranges(asked(*ranges, times=most + 1), TOKENS)


def test_tokens_of_one_read_are_counted() -> None:
    with pytest.raises(SubmissionError, match="more tokens than four times the stream"):
        frames.ranges(asked((0, TOKENS), times=9000), TOKENS)
    frames.ranges(asked((0, TOKENS), times=4), TOKENS)


def test_every_window_of_a_stride_of_one_in_one_read() -> None:
    starts = np.arange(TOKENS - 100)
    ranges = np.stack([starts, starts + 100], 1)
    assert frames.ranges(Frame(Kind.READ, (ranges, INPUT)), TOKENS)[1] == Purpose.INPUT


def test_reads_without_end_are_refused_and_a_hundred_passes_are_not() -> None:
    stream = Trace(200)
    windows = np.stack([np.arange(190), np.arange(190) + 10], 1)
    for _ in range(100):
        for purpose in (Purpose.INPUT, Purpose.TARGET):
            stream.read(windows, purpose)
    empty = np.zeros((frames.SPARE_RANGES, 2), np.int64)
    with pytest.raises(SubmissionError, match=r"read 1,\d{3},\d{3} ranges of a stream of 200 tokens"):
        for _ in range(1 << 20):
            stream.read(empty, Purpose.INPUT)
    with pytest.raises(SubmissionError, match="ranges of a stream of 200 tokens"):
        stream.read(empty[:0], Purpose.INPUT)

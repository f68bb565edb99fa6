"""The merged order of ranks: a law of what happened on each, whatever arrived first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import SubmissionError
from harness.referee.ranks import RankedEvaluation, Tape
from harness.referee.rows import PROJECTIONS, Scored
from harness.referee.trace import Commit, Read, Trace
from harness.sandbox.protocol import Purpose, Rows

TOKENS = 40


def scored(count: int) -> Scored:
    return Scored(np.zeros(count), np.zeros(count), np.zeros((count, PROJECTIONS)))


def ranked(size: int) -> tuple[RankedEvaluation, list[Any], Trace]:
    ranks = [SimpleNamespace(sink=Tape(), finished=False, waiting=False) for _ in range(size)]
    trace = Trace(TOKENS)
    return RankedEvaluation(ranks, trace, TOKENS), ranks, trace  # type: ignore[arg-type]


def commit(rank: Any, *positions: int) -> None:
    rank.sink.read(np.array([(0, positions[0])]), Purpose.INPUT)
    rank.sink.commit(np.array(positions), scored(len(positions)), Rows.LOGITS)


def merged(shares: list[list[int]], arrivals: list[int]) -> Trace:
    """Each rank commits its positions one by one, in its own order; `arrivals` says which rank is next."""
    evaluation, ranks, trace = ranked(len(shares))
    left = [list(share) for share in shares]
    for index in [*arrivals, *range(len(shares))] * TOKENS:
        index %= len(shares)
        if left[index]:
            commit(ranks[index], left[index].pop(0))
        elif not ranks[index].finished:
            ranks[index].finished = True
        evaluation._merge(None)
    assert not any(left)
    return trace


@given(st.lists(st.integers(0, 3), min_size=TOKENS - 1, max_size=TOKENS - 1), st.data())
def test_the_merged_order_depends_on_what_happened_and_not_on_when(owners: list[int], data: st.DataObject) -> None:
    shares = [[p for p, owner in zip(range(1, TOKENS), owners, strict=True) if owner == rank] for rank in range(4)]
    shares = [data.draw(st.permutations(share)) for share in shares]
    first, second = (merged(shares, data.draw(st.lists(st.integers(0, 3), max_size=20))) for _ in range(2))
    assert (first.order == second.order).all() and (first.order[1:] >= 0).all()
    for share in shares:
        assert (np.diff(first.order[share]) > 0).all()  # no rank's own order is changed
    if all(share == sorted(share) for share in shares):
        assert first.in_order


def test_reads_come_just_before_the_rows_that_followed_them() -> None:
    evaluation, ranks, trace = ranked(2)
    commit(ranks[1], 3, 4)
    assert not evaluation._merge(None) and not trace.events  # rank 0 may still come first
    commit(ranks[0], 1, 2)
    evaluation._merge(None)
    assert [type(event) for event in trace.events] == [Read, Commit] and trace.order[2] == 1
    for rank in ranks:
        rank.finished = True
    evaluation._merge(None)
    assert [type(event) for event in trace.events] == [Read, Commit] * 2 and trace.order[3] == 2


def test_an_exchange_orders_what_the_stream_does_not() -> None:
    evaluation, ranks, trace = ranked(2)
    for rank in ranks:
        rank.go = lambda rank=rank: setattr(rank, "waiting", False)
    commit(ranks[1], 30)
    for rank in ranks:
        rank.waiting = True
    evaluation._merge(None)
    evaluation._exchange()
    assert evaluation._committed == 1
    commit(ranks[0], 1)
    for rank in ranks:
        rank.finished = True
    evaluation._merge(None)
    assert trace.order[30] < trace.order[1]


def test_history_waits_for_its_turn_and_ends_the_run_if_that_never_comes() -> None:
    evaluation, ranks, trace = ranked(2)
    ranks[0].sink.read(np.array([(5, 6)]), Purpose.HISTORY)
    commit(ranks[0], 2)
    commit(ranks[1], 5)
    evaluation._merge(None)
    assert trace.order[5] == 0 and trace.order[2] < 0  # rank 0's history first, and rank 1 may yet go on
    ranks[1].finished = True
    evaluation._merge(None)
    assert trace.order[2] == 1

    evaluation, ranks, trace = ranked(2)
    for rank, (asked, own) in zip(ranks, ((5, 2), (2, 5)), strict=True):
        rank.sink.read(np.array([(asked, asked + 1)]), Purpose.HISTORY)
        commit(rank, own)
    with pytest.raises(SubmissionError, match=r"history\(5, 6\): position 5 is not scored yet \(rank 0\)"):
        evaluation._merge(None)

"""The ledger: first commits, repeats, order, and what was in hand when an update was made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.referee.rows import PROJECTIONS, Scored
from harness.referee.trace import Commit, Read, Trace, Update, compare
from harness.sandbox.protocol import Purpose, Rows


def numbers(values: list[float]) -> Scored:
    nll = np.array(values, np.float64)
    return Scored(nll, nll / 10, np.repeat(nll[:, None], PROJECTIONS, axis=1))


def commit(trace: Trace, positions: list[int], values: list[float] | None = None) -> None:
    rows = numbers(values if values is not None else [float(p) for p in positions])
    trace.commit(np.array(positions, np.int64), rows, Rows.LOGITS)


def read(trace: Trace, *ranges: tuple[int, int], purpose: Purpose = Purpose.INPUT) -> None:
    trace.read(np.array(ranges, np.int64).reshape(-1, 2), purpose)


def pending(trace: Trace) -> int:
    trace.update(1, 1)
    event = trace.events[-1]
    assert isinstance(event, Update)
    return event.pending


def test_a_fresh_trace_holds_nothing() -> None:
    trace = Trace(5)
    assert np.isnan(trace.nll).all() and trace.scored.tolist() == [] and trace.in_order and trace.committed == 0


def test_commits_fill_the_arrays_and_the_ledger() -> None:
    trace = Trace(8)
    read(trace, (0, 4))
    commit(trace, [1, 2, 3])
    commit(trace, [5, 4])
    assert trace.scored.tolist() == [1, 2, 3, 4, 5] and trace.order.tolist() == [-1, 0, 1, 2, 4, 3, -1, -1]
    assert trace.nll[1:6].tolist() == [1, 2, 3, 4, 5] and np.isnan(trace.nll[[0, 6, 7]]).all()
    assert trace.excess[5] == 0.5 and trace.prints[5].tolist() == [5.0] * PROJECTIONS
    assert trace.kinds == {Rows.LOGITS} and trace.committed == 5
    first, *rest = trace.events
    assert isinstance(first, Read) and first.scored == 0 and first.purpose == Purpose.INPUT
    assert rest == [Commit(0, 3, 1, 3), Commit(3, 2, 4, 5)]


def test_a_repeat_is_counted_and_the_first_row_stays() -> None:
    trace = Trace(6)
    commit(trace, [1, 2, 3], [1.0, 2.0, 3.0])
    commit(trace, [2, 4], [0.5, 4.0])
    assert trace.repeated == 1 and trace.times.tolist() == [0, 1, 2, 1, 1, 0] and trace.since[2] == 1
    assert trace.nll[2] == 2.0 and trace.order.tolist() == [-1, 0, 1, 2, 4, -1]


def test_a_repeat_within_one_commit_is_counted_too() -> None:
    trace = Trace(6)
    commit(trace, [3, 1, 3, 3], [9.0, 1.0, 0.1, 0.2])
    assert trace.repeated == 2 and trace.times[3] == 3 and trace.since[3] == 1
    assert trace.nll[3] == 9.0 and trace.order[3] == 0 and trace.committed == 4


def test_repeats_are_counted_without_limit() -> None:
    trace = Trace(2)
    commit(trace, [1] * 1500)
    assert trace.repeated == 1499 and trace.since[1] == 0


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), max_size=8))
def test_whatever_is_committed_the_first_of_each_position_counts(groups: list[list[int]]) -> None:
    trace, first, sequence = Trace(10), {}, 0
    for group in groups:
        commit(trace, group, [float(sequence + i) for i in range(len(group))])
        for position in group:
            first.setdefault(position, sequence)
            sequence += 1
    assert trace.scored.tolist() == sorted(first) and trace.committed == sequence
    assert trace.repeated == sequence - len(first)
    flat = [position for group in groups for position in group]
    for position in first:
        at = [index for index, one in enumerate(flat) if one == position]
        between = set(flat[at[0] : at[-1]]) - set(flat[: at[0] + 1])
        assert trace.times[position] == len(at) and trace.since[position] == len(between)
    for position, number in first.items():
        assert trace.order[position] == number and trace.nll[position] == number
    assert trace.in_order == (list(first) == sorted(first))


@pytest.mark.parametrize(("positions", "expected"), [([1, 2, 5], True), ([1, 5, 2], False), ([7], True)])
def test_in_order(positions: list[int], expected: bool) -> None:
    trace = Trace(9)
    for position in positions:
        commit(trace, [position])
    assert trace.in_order is expected


def test_an_update_after_the_commit_has_nothing_pending() -> None:
    trace = Trace(101)
    for start in range(0, 100, 10):
        read(trace, (start, start + 10))
        commit(trace, list(range(start + 1, start + 11)))
        assert pending(trace) == 0


def test_an_update_on_a_chunk_read_again_after_it_was_scored_has_nothing_pending() -> None:
    trace = Trace(21)
    read(trace, (0, 10))
    commit(trace, list(range(1, 11)))
    read(trace, (1, 11), purpose=Purpose.HISTORY)
    assert pending(trace) == 0


def test_an_update_between_read_and_commit_has_unscored_tokens_in_hand() -> None:
    trace = Trace(101)
    read(trace, (0, 32))
    assert pending(trace) == 31  # x_0 needs no score
    read(trace, (1, 33), purpose=Purpose.TARGET)
    assert pending(trace) == 32
    commit(trace, list(range(1, 33)))
    assert pending(trace) == 0


def test_a_look_ahead_stays_pending_until_it_is_scored() -> None:
    trace = Trace(101)
    read(trace, (0, 10))
    read(trace, (90, 101))
    commit(trace, list(range(1, 11)))
    assert pending(trace) == 11
    commit(trace, list(range(90, 101)))
    assert pending(trace) == 0


def test_pending_does_not_depend_on_the_order_of_documents() -> None:
    trace = Trace(101)
    read(trace, (60, 100))
    commit(trace, list(range(61, 101)))
    assert pending(trace) == 1  # x_60, the first document's last token
    read(trace, (0, 60))
    assert pending(trace) == 60
    commit(trace, list(range(1, 61)))
    assert pending(trace) == 0


def test_repeated_commits_do_not_hide_what_is_pending() -> None:
    trace = Trace(101)
    read(trace, (0, 50))
    commit(trace, [1] * 200)
    assert pending(trace) == 48


def trace_with(values: dict[int, float]) -> Trace:
    trace = Trace(10)
    commit(trace, list(values), list(values.values()))
    return trace


def test_equal_traces_do_not_differ() -> None:
    values = {p: p / 7 for p in range(1, 10)}
    difference = compare(trace_with(values), trace_with(values))
    assert (difference.positions, difference.changed, difference.max_nll, difference.missing) == (9, 0, 0.0, 0)


def test_one_changed_row_is_found() -> None:
    values = {p: p / 7 for p in range(1, 10)}
    difference = compare(trace_with(values), trace_with({**values, 4: 4 / 7 + 1e-12}))
    assert difference.changed == 1 and 0 < difference.max_nll < 2e-12


def test_a_row_that_changed_beside_its_token_is_found() -> None:
    left, right = trace_with({1: 1.0, 2: 2.0}), trace_with({1: 1.0, 2: 2.0})
    right.prints[2, 1] += 1e-9
    difference = compare(left, right)
    assert difference.changed == 1 and difference.max_nll == 0 and difference.max_print > 0


def test_positions_that_only_one_scored_are_missing() -> None:
    difference = compare(trace_with({1: 1.0, 2: 2.0}), trace_with({2: 2.0, 3: 3.0}))
    assert (difference.positions, difference.missing) == (1, 2)
    empty = compare(Trace(10), Trace(10))
    assert (empty.positions, empty.changed, empty.max_nll) == (0, 0, 0.0)


def test_save_can_be_loaded_without_pickle(tmp_path: Path) -> None:
    trace = trace_with({3: 1.5, 1: 2.5})
    (tmp_path / "trace.npz").write_bytes(trace.to_bytes())
    with np.load(tmp_path / "trace.npz", allow_pickle=False) as loaded:
        assert set(loaded) == {"nll", "excess", "order"}
        for name in loaded:
            np.testing.assert_array_equal(loaded[name], getattr(trace, name))

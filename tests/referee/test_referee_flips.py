"""Flip tests: who is accused, who is not, and what silence is worth."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import torch
from scripted import VOCAB, evaluating, flipped, scored_trace, tokens_of

from harness.errors import SubmissionError
from harness.kit.stream import Stream
from harness.referee.comparator import KEPT_CHANGES, Comparator, ProbeResult, starts_agree
from harness.referee.flips import FlipRun
from harness.referee.rows import PROJECTIONS, Scored
from harness.referee.source import ALTERNATIVE, DOCUMENT_END, Probe
from harness.referee.trace import Trace, compare
from harness.sandbox.protocol import Rows

TABLE = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(2))
TOKENS = tokens_of(60)
Positions = list[int]


def commit(
    sink: Trace | Comparator, positions: Positions, values: list[float], prints: list[float] | None = None
) -> None:
    nll = np.array(values, np.float64)
    marks = np.array(prints if prints is not None else values, np.float64)
    rows = Scored(nll, np.zeros(len(nll)), np.repeat(marks[:, None], PROJECTIONS, axis=1))
    sink.commit(np.array(positions, np.int64), rows, Rows.LOGITS)


def base_trace() -> Trace:
    trace = Trace(10)
    commit(trace, list(range(1, 10)), [float(p) for p in range(1, 10)])
    return trace


def comparing(position: int, seen: Positions = []) -> tuple[Comparator, ProbeResult]:  # noqa: B006
    """A comparator for a flip at `position`: rows up to it must hold, less those seen before the split."""
    hold, before = np.zeros(10, bool), np.zeros(10, bool)
    hold[1 : position + 1] = True
    before[seen] = True
    result = ProbeResult(Probe("suffix", position, shift=1))
    return Comparator(base_trace(), result, hold & ~before, before), result


def test_rows_that_hold_are_compared_and_rows_after_are_controls() -> None:
    sink, result = comparing(4)
    commit(sink, [1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0])
    assert (result.compared, result.violated, result.control, result.controls_seen) == (4, 0, 0, 0)
    assert not sink.enough()
    commit(sink, [5, 6], [5.0, 6.5])
    sink.close()
    assert (result.violated, result.control, result.controls_seen, result.control_size) == (0, 1, 2, 0.5)
    assert result.still == [4] and result.withheld == []
    assert result.effects == [(6, 0.5)] and result.rows == 6 and sink.enough()


def test_a_row_that_must_hold_and_moves_is_a_violation() -> None:
    sink, result = comparing(4)
    commit(sink, [1, 2, 3, 4, 5], [1.0, 2.0, 2.75, 4.0, 5.0])
    assert result.violated == 1 and result.violations == [(3, 3.0, 2.75, 0.25)] and result.control == 0


def test_a_row_that_moves_beside_its_token_is_a_violation_too() -> None:
    sink, result = comparing(4)
    commit(sink, [1, 2], [1.0, 2.0], [1.0, 2.125])
    assert result.violations == [(2, 2.0, 2.0, 0.125)] and result.effects == [(2, 0.0)]


def test_the_flipped_position_itself_must_hold() -> None:
    sink, result = comparing(4)
    commit(sink, [4, 5], [4.5, 5.5])
    assert [row[0] for row in result.violations] == [4] and result.control == 1


def test_a_row_that_is_due_and_does_not_come_counts_as_one_that_moved() -> None:
    sink, result = comparing(4)
    commit(sink, [1, 2, 4], [1.0, 2.0, 4.0])
    for position in (5, 6, 7):
        assert not sink.enough()
        commit(sink, [position], [position + 1.0])
    assert sink.enough()  # nobody waits forever for what is withheld
    sink.close()
    assert result.withheld == [3] and result.violated == 1 and not result.violations
    assert result.above(0.5).violated == 1


def test_a_row_that_comes_after_those_that_it_should_come_before_is_one_of_them() -> None:
    sink, result = comparing(4)
    commit(sink, [1, 2, 4, 5], [1.0, 2.0, 4.0, 5.5])
    commit(sink, [3], [3.0])
    sink.close()
    assert result.withheld == [3] and result.violated == 1


def test_rows_that_are_not_due_yet_are_not_missed() -> None:
    sink, result = comparing(4)
    commit(sink, [1, 2], [1.0, 2.0])
    sink.close()  # the process was stopped for another reason
    assert result.withheld == [] and result.violated == 0
    sink, result = comparing(4)
    commit(sink, [1, 2], [1.0, 2.0])
    sink.ended()  # it said that it was done
    assert result.withheld == [3, 4] and result.violated == 2


def test_rows_on_one_side_of_an_order_are_counted_apart() -> None:
    base = Trace(10)
    commit(base, [2, 4, 6, 8, 1, 3, 5, 7, 9], [2.0, 4.0, 6.0, 8.0, 1.0, 3.0, 5.0, 7.0, 9.0])
    hold = np.zeros(10, bool)
    hold[[2, 4]] = True
    result = ProbeResult(Probe("swap", 4, token=1))
    sink = Comparator(base, result, hold)
    commit(sink, [2, 4, 6, 8], [2.0, 4.0, 6.5, 8.0])
    commit(sink, [1, 3, 5, 7, 9], [1.0, 3.25, 5.0, 7.0, 9.0])
    assert result.violated == 0 and result.crossed == [(3, 0.25)] and result.backwards == []
    assert result.above(0.3).crossed == []


def test_only_first_rows_are_compared() -> None:
    sink, result = comparing(4, seen=[1, 2])
    commit(sink, [1, 2], [9.0, 9.0])  # repeats of rows from before the split
    commit(sink, [3, 3, 4], [3.0, 9.0, 4.0])  # a repeat within one commit
    commit(sink, [4], [9.0])  # and one across commits
    assert (result.violated, result.compared, result.control, result.controls_seen) == (0, 2, 0, 0)
    assert not sink.enough()


def test_rows_that_the_base_run_never_committed_say_nothing() -> None:
    hold = np.ones(10, bool)
    result = ProbeResult(Probe("swap", 4, token=1))
    sink = Comparator(Trace(10), result, hold)
    commit(sink, [1, 2], [1.0, 2.0])
    assert result.compared == 0 and result.violated == 0 and result.rows == 2


def test_a_silent_control_is_waited_for_a_little() -> None:
    sink, result = comparing(2)
    commit(sink, [1, 2], [1.0, 2.0])
    answers = []
    for position in (3, 4, 5):
        commit(sink, [position], [float(position)])
        answers.append(sink.enough())
    assert answers == [False, False, True] and result.control == 0


def test_the_largest_changes_are_kept() -> None:
    count = KEPT_CHANGES + 50
    base = Trace(count + 1)
    everything = list(range(1, count + 1))
    commit(base, everything, [0.0] * count)
    result = ProbeResult(Probe("swap", count, token=1))
    commit(Comparator(base, result, np.ones(count + 1, bool)), everything, [float(p) for p in everything])
    assert result.violated == count and len(result.violations) == len(result.effects) == KEPT_CHANGES
    assert min(row[0] for row in result.violations) == 51


def test_noise_is_taken_for_no_change() -> None:
    sink, result = comparing(4)
    commit(sink, [2, 4, 5], [2.25, 5.0, 5.25])
    assert result.above(0.0) is result
    loud = result.above(0.5)
    assert [row[0] for row in loud.violations] == [4] and loud.violated == 1 and loud.control == 0
    assert loud.effects == [(4, 1.0)] and result.violated == 2


# Scorers, each run in a process of its own.


def honest(stream: Stream) -> None:
    for batch in stream.windows(length=12, stride=4, batch_size=3):
        stream.score(batch, TABLE[batch.inputs])


def own_token(stream: Stream) -> None:
    for batch in stream.windows(length=12, stride=4, batch_size=3):
        gate = torch.nn.functional.one_hot(stream.targets(batch), VOCAB)
        stream.score(batch, TABLE[batch.inputs] + 0.5 * gate)


def class_only(stream: Stream) -> None:
    """Leaks one bit about its own token, whether it is above 5."""
    for batch in stream.windows(length=12, stride=4, batch_size=3):
        high = (stream.targets(batch) > 5).float()
        stream.score(batch, TABLE[batch.inputs] + high[..., None] * torch.linspace(0, 1, VOCAB))


def shared_in_batch(stream: Stream) -> None:
    for batch in stream.windows(length=12, stride=4, batch_size=3):
        seen = stream.targets(batch)[batch.scored]
        stream.score(batch, TABLE[batch.inputs] + TABLE[seen].mean(0))


def dead(stream: Stream) -> None:
    for batch in stream.windows(length=12, stride=4, batch_size=3):
        stream.score(batch, torch.zeros(len(batch.positions), VOCAB))


def dead_and_repeating(stream: Stream) -> None:
    """Scores every batch again, in another way, when the next one is read."""
    before = None
    for batch in stream.windows(length=12, stride=4, batch_size=3):
        if before is not None:
            stream.score(before, torch.arange(VOCAB).float().expand(len(before.positions), VOCAB))
        stream.score(batch, torch.zeros(len(batch.positions), VOCAB))
        before = batch


def breaks_on_a_lie(stream: Stream) -> None:
    for batch in stream.windows(length=12, stride=4, batch_size=3):
        for row, window in enumerate(batch.windows):
            truth = torch.from_numpy(TOKENS[window.start : window.start + window.size].astype(np.int64))
            if not torch.equal(batch.inputs[row, : window.size], truth):
                raise SystemExit
        stream.score(batch, TABLE[batch.inputs])


def probes_at(*positions: int) -> list[Probe]:
    pairs = [(Probe("suffix", t, shift=7), Probe("swap", t, token=(int(TOKENS[t]) + 5) % VOCAB)) for t in positions]
    assert all(TOKENS[t] != TOKENS[(t + 7) % len(TOKENS)] for t in positions)
    return [probe for both in pairs for probe in both]


def good_positions(count: int) -> Positions:
    found = [t for t in range(1, 58) if TOKENS[t] != TOKENS[(t + 7) % 60]]
    return [found[i] for i in np.linspace(0, len(found) - 1, count).astype(int)]


@pytest.mark.parametrize("seed", [0, 1])
def test_an_honest_scorer_is_not_accused_and_every_probe_has_teeth(seed: int) -> None:
    results, base, again = flipped(honest, TOKENS, probes_at(*good_positions(6)), seed=seed)
    for result in results:
        assert result.ran and result.error is None and result.violated == 0 and result.control > 0
        assert result.by_construction + result.compared == result.probe.position
        assert all(p > result.probe.position for p, _ in result.effects)
    assert any(result.by_construction for result in results) and any(result.compared for result in results)
    difference = compare(base, again)
    assert difference.positions == 59 and difference.changed == difference.missing == 0


def test_a_coin_decides_which_process_goes_on_as_the_unperturbed_one() -> None:
    base, (probe, _) = scored_trace(honest, TOKENS), probes_at(30)
    kept = []
    for seed in range(8):
        with evaluating(honest, TOKENS, Trace(len(TOKENS))) as evaluation:
            before = evaluation.wire
            FlipRun(base, TOKENS, [probe], budget=1000, seed=seed).run(evaluation)
            kept.append(evaluation.wire is before)
    assert {True, False} == set(kept)


def test_a_row_that_depends_on_its_own_token() -> None:
    results, base, again = flipped(own_token, TOKENS, probes_at(*good_positions(4)))
    for result in results:
        assert [row[0] for row in result.violations] == [result.probe.position]
    assert compare(base, again).changed == 0  # the flips leave the unperturbed lineage alone


def test_a_leak_of_the_class_shows_when_the_class_changes() -> None:
    position = next(t for t in range(5, 50) if TOKENS[t] <= 3)
    within = Probe("swap", position, token=int(TOKENS[position]) + 1)
    across = Probe("swap", position, token=9)
    results, _, _ = flipped(class_only, TOKENS, [within, across])
    assert [result.violated for result in results] == [0, 1]
    assert all(result.control for result in results)


def test_a_state_shared_in_a_batch_leaks_to_rows_before() -> None:
    results, _, _ = flipped(shared_in_batch, TOKENS, probes_at(*good_positions(4)), stop_after=100)
    assert all(result.ran and result.violated for result in results)
    reach = [result.probe.position - min(p for p, *_ in result.violations) for result in results]
    assert max(reach) > 4  # further back than one window


def test_silence_of_a_dead_scorer_has_no_teeth() -> None:
    results, _, _ = flipped(dead, TOKENS, probes_at(*good_positions(4)))
    assert all(result.ran and not result.violated and not result.control for result in results)


def test_rows_scored_again_are_neither_leak_nor_control() -> None:
    results, base, _ = flipped(dead_and_repeating, TOKENS, probes_at(*good_positions(4)))
    assert base.repeated > 30
    assert all(result.ran and not result.violated and not result.control for result in results)


def test_a_submission_that_breaks_under_a_lie() -> None:
    results, base, again = flipped(breaks_on_a_lie, TOKENS, probes_at(*good_positions(2)))
    assert all(result.ran and result.error and "ended early" in result.error for result in results)
    assert compare(base, again).missing == 0


def test_without_budget_nothing_is_tried() -> None:
    results, base, again = flipped(honest, TOKENS, probes_at(*good_positions(3)), budget=0)
    assert not any(result.ran for result in results) and compare(base, again).missing == 0


def test_a_spent_budget_leaves_the_rest() -> None:
    results, _, _ = flipped(honest, TOKENS, probes_at(*good_positions(8)), budget=20, together=True)
    assert 0 < sum(result.ran for result in results) < len(results)


def test_a_spent_budget_leaves_probes_of_another_purpose() -> None:
    probes = probes_at(*good_positions(8))
    last = dataclasses.replace(probes[-1], kind="swap", token=(int(TOKENS[probes[-1].position]) + 1) % VOCAB)
    for purpose, made in (("", False), (ALTERNATIVE, True), (DOCUMENT_END, True)):
        probe = dataclasses.replace(last, token_class=purpose)
        results, _, _ = flipped(honest, TOKENS, [*probes[:-2], probe], budget=20, together=True)
        assert results[-1].ran is made, purpose


def test_enough_leaks_end_the_search() -> None:
    results, _, _ = flipped(own_token, TOKENS, probes_at(*good_positions(10)), stop_after=4, together=True)
    assert 0 < sum(result.violated > 0 for result in results) < len(results)
    assert not results[-1].ran


# Documents A (x_0 .. x_29) and B (x_30 .. x_59), processed B first, each with a context of its own.


def in_two_documents(stream: Stream, biases: dict[str, float]) -> None:
    b = stream.read(30, 60)
    stream.commit(torch.arange(31, 60), TABLE[b[:-1]])
    a = stream.read(0, 31)
    rows = TABLE[a[:-1]].clone()
    rows += biases.get("later document", 0.0) * TABLE[b[1:]].mean(0)  # x_30 itself is scored with document A
    rows += biases.get("own token", 0.0) * TABLE[a[1:]]
    rows += biases.get("end of document", 0.0) * TABLE[a[25]]
    stream.commit(torch.arange(1, 31), rows)


def longest_first(stream: Stream) -> None:
    in_two_documents(stream, {"later document": 0.5})


def longest_first_own_token(stream: Stream) -> None:
    in_two_documents(stream, {"later document": 0.5, "own token": 0.5})


def longest_first_end_of_document(stream: Stream) -> None:
    in_two_documents(stream, {"later document": 0.5, "end of document": 0.5})


ELSEWHERE = [t for t in (3, 10, 20, 34, 40, 50) if TOKENS[t] != TOKENS[(t + 7) % 60]]


def test_processing_documents_in_another_order_is_no_leak() -> None:
    base = scored_trace(longest_first, TOKENS)
    assert not base.in_order and base.order[31] == 0
    results, _, _ = flipped(longest_first, TOKENS, probes_at(*ELSEWHERE))
    assert len(ELSEWHERE) >= 4 and any(t > 30 for t in ELSEWHERE) and any(t < 30 for t in ELSEWHERE)
    for result in results:
        assert result.ran and result.violated == 0 and result.control > 0, result.probe
        assert result.by_construction + result.compared > 0


def test_in_another_order_a_row_that_depends_on_its_own_token_is_one() -> None:
    results, _, _ = flipped(longest_first_own_token, TOKENS, probes_at(*ELSEWHERE), stop_after=100)
    accused = {r.probe.position for r in results if r.violated}
    assert accused == {t for t in ELSEWHERE if t < 30}  # document B is honest
    assert all([row[0] for row in r.violations] == [r.probe.position] for r in results if r.violated)


def test_in_another_order_a_row_that_depends_on_what_is_later_in_both_is_one() -> None:
    results, _, _ = flipped(longest_first_end_of_document, TOKENS, probes_at(*ELSEWHERE), stop_after=100)
    by_probe = {(r.probe.kind, r.probe.position): r for r in results}
    early = next(t for t in ELSEWHERE if t < 25)
    assert by_probe["suffix", early].violated > 1  # all rows up to it, as far as was looked
    assert by_probe["swap", early].violated == 0  # that token is not the one that leaks
    assert all(r.violated == 0 for (_, t), r in by_probe.items() if t > 30)


def even_then_odd(stream: Stream) -> None:
    """Every even position first, then the odd ones, each of which sees its right neighbour."""
    text = stream.read(0, stream.tokens)
    even, odd = torch.arange(2, stream.tokens, 2), torch.arange(1, stream.tokens - 1, 2)
    stream.commit(even, TABLE[text[even - 1]])
    stream.commit(odd, TABLE[text[odd - 1]] + TABLE[text[odd + 1]])


def test_an_order_that_lets_rows_see_what_follows_them_is_told() -> None:
    position = next(t for t in range(10, 40, 2))
    results, base, _ = flipped(
        even_then_odd, TOKENS, [Probe("swap", position, token=(int(TOKENS[position]) + 1) % VOCAB)]
    )
    assert not base.in_order and results[0].violated == 0
    assert [p for p, _ in results[0].crossed] == [position - 1]


def colluding(stream: Stream) -> None:
    """Forks of this process share memory. Whoever reads tells it, and a row leaks the largest that anybody was told."""
    board = torch.zeros(stream.tokens, dtype=torch.int64).share_memory_()
    for low in range(1, stream.tokens, 6):
        at = torch.arange(low, min(low + 6, stream.tokens))
        told = stream.read(low, int(at[-1]) + 1)
        board[at] = torch.maximum(board[at], told)
        stream.commit(at, TABLE[stream.history(low - 1, low)] + torch.nn.functional.one_hot(board[at], VOCAB))


def test_a_process_that_is_lied_to_learns_the_truth_from_nobody() -> None:
    """Its forks meet, but when the lie is told none of them knows the truth, so that the leak moves the row."""
    top = [t for t in range(7, 50) if int(TOKENS[t]) == VOCAB - 1]
    probes = [Probe("swap", t, token=2) for t in top[:3]]
    results, _, _ = flipped(colluding, TOKENS, probes, together=True)
    assert results and all(result.ran and result.violated for result in results)


def test_lies_of_one_read_go_from_left_to_right_and_one_swap_comes_last() -> None:
    def at_once(stream: Stream) -> None:
        text = stream.read(0, stream.tokens)
        stream.commit(torch.arange(1, stream.tokens), TABLE[text[:-1]])

    spots = good_positions(4)
    probes = [Probe("suffix", t, shift=7) for t in reversed(spots)]
    later = next(t for t in range(spots[2] + 1, spots[3]) if TOKENS[t] != 3)
    swaps = [Probe("swap", later, token=3), Probe("swap", spots[0], token=(int(TOKENS[spots[0]]) + 1) % VOCAB)]
    for urgent in (False, True):
        asked = [*probes, dataclasses.replace(swaps[0], urgent=urgent), swaps[1]]
        results, _, _ = flipped(at_once, TOKENS, asked, together=True)
        made = {(result.probe.kind, result.probe.position) for result in results if result.ran}
        # A suffix to the right of a swap would be told its truth first, and a second swap would know the first one's.
        if urgent:
            assert made == {("suffix", t) for t in spots[:3]} | {("swap", later)}
        else:
            assert made == {("suffix", t) for t in spots}


def threads(stream: Stream) -> None:
    torch.set_num_threads(2)
    honest(stream)


def test_a_process_with_threads_is_not_split_and_says_so() -> None:
    base, again = scored_trace(threads, TOKENS), Trace(len(TOKENS))
    flips = FlipRun(base, TOKENS, probes_at(*good_positions(3)), budget=1000)
    with evaluating(threads, TOKENS, again) as evaluation:
        results = flips.run(evaluation)
    assert flips.whole == "it computes on 2 threads" and not any(result.ran for result in results)
    assert compare(base, again).missing == 0


def slow_after_a_split(stream: Stream) -> None:
    """Whoever reads other tokens takes its time, so that the unperturbed process is ahead of it."""
    for batch in stream.windows(length=12, stride=4, batch_size=3):
        window = batch.windows[0]
        if batch.inputs[0, : window.size].tolist() != TOKENS[window.start : window.start + window.size].tolist():
            time.sleep(0.05)
        stream.score(batch, TABLE[batch.inputs])


@pytest.mark.parametrize("budget", [20, 100_000])
def test_what_is_tried_and_seen_does_not_depend_on_who_is_faster(budget: int) -> None:
    probes = probes_at(*good_positions(8))
    fast, _, _ = flipped(honest, TOKENS, probes, budget=budget, together=True)
    slow, base, again = flipped(slow_after_a_split, TOKENS, probes, budget=budget, together=True)
    assert slow == fast
    assert compare(base, again).changed == compare(base, again).missing == 0


def breaks_at_the_end(stream: Stream) -> None:
    slow_after_a_split(stream)
    raise SystemExit


def test_probes_that_go_on_end_before_a_broken_run_is_given_up() -> None:
    tokens, base = TOKENS, scored_trace(honest, TOKENS)
    flips = FlipRun(base, tokens, probes_at(good_positions(8)[-1])[:1], budget=1000)
    with evaluating(breaks_at_the_end, tokens, Trace(len(tokens))) as evaluation:
        with pytest.raises(SubmissionError, match="ended early"):
            flips.run(evaluation)
        assert all(result.ran and result.rows for result in flips.results)


# Documents' starts: who knows them gains at each; who cuts its batches there gains or loses by chance.

START = 3


def started(rows: list[tuple[bool, float]]) -> list[ProbeResult]:
    """Flips of documents' starts, removed or made, and what each added to the loss of the true token."""
    return [
        ProbeResult(
            Probe("swap", 10 + n, token=5 if removed else START, token_class="document start"),
            ran=True,
            own=(2.0, 2.0 + gain),
            violations=[(10 + n, 2.0, 2.0 + gain, 0.5)],
            violated=1,
            documents=True,
            removes=removed,
        ).above(1e-5)
        for n, (removed, gain) in enumerate(rows)
    ]


def test_whoever_is_told_of_documents_starts_is_accused() -> None:
    found = starts_agree(started([(True, 0.4), (True, 1.5), (False, 0.0), (False, -0.1)]))
    assert [result.violated for result in found] == [1, 1, 0, 0]


def test_whoever_cuts_batches_at_documents_is_not() -> None:
    for gains in ([(True, -0.02), (True, 0.02)], [(True, 0.3), (True, -0.3)], [(True, -2.0), (True, -1.0)]):
        assert not any(result.violated for result in starts_agree(started([*gains, (False, 0.2)])))


def test_flips_that_touch_no_start_are_left_alone() -> None:
    plain = ProbeResult(Probe("swap", 4, token=2), ran=True, violations=[(4, 2.0, 1.5, 0.5)], violated=1)
    assert starts_agree([plain.above(1e-5), *started([(True, -0.2)])])[0].violated == 1


def test_rows_before_a_start_may_not_know_where_it_is() -> None:
    """A window that ends with its document tells all of its rows where that is."""
    found = ProbeResult(
        Probe("swap", 20, token=5, token_class="document start"),
        ran=True,
        own=(2.0, 1.9),
        violations=[(18, 2.0, 1.8, 0.5), (19, 2.0, 2.01, 0.5), (20, 2.0, 1.9, 0.5)],
        violated=3,
        documents=True,
        removes=True,
    ).above(1e-5)
    (kept,) = starts_agree([found])
    assert [row[0] for row in kept.violations] == [18] and kept.violated == 1

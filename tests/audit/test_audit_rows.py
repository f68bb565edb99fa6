"""Checks of the rows themselves: normalization, single-pass, determinism; and isolation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness import rules
from harness.audit import determinism, isolation, normalization, single_pass
from harness.corpus.dataset import Dataset
from harness.record import Status
from harness.referee.comparator import ROUNDING
from harness.referee.trace import Difference, Trace
from harness.sandbox.protocol import Rows
from tests.audit.evidence_builder import CLOSED, OPEN, clean_trace, commit, evidence, settled, taking

LOG_PROBS = {"kind": Rows.LOG_PROBS}


def test_logits_pass(dataset: Dataset) -> None:
    found = settled(normalization.check(evidence(dataset)), Status.PASS)
    assert found.value("rows") == len(dataset.validation) - 1
    assert found.value("columns") == dataset.vocab_size


@pytest.mark.parametrize("excess", [0.0, 1e-6, -1e-6, -3.0])
def test_log_probabilities_that_sum_to_one_or_less_pass(dataset: Dataset, excess: float) -> None:
    trace = clean_trace(len(dataset.validation), excess=excess, **LOG_PROBS)
    found = settled(normalization.check(evidence(dataset, trace)), Status.PASS)
    assert found.value("rows_above_one") == 0
    assert (found.value("rows_below_one") == 0) == (excess > -0.5)


def test_one_row_that_sums_to_more_fails(dataset: Dataset) -> None:
    trace = clean_trace(len(dataset.validation), **LOG_PROBS)
    trace.excess[77] = np.log(1.25)
    trace.excess[78] = np.log(0.1)  # further from 1, and legal
    found = settled(normalization.check(evidence(dataset, trace)), Status.FAIL)
    assert found.witness is not None and found.witness.data["position"] == 77
    assert found.witness.data["sum"] == pytest.approx(1.25)
    assert found.value("rows_above_one") == 1
    assert found.value("charged_for_excess") == pytest.approx(np.log(1.25))


def test_logits_do_not_hide_a_row_of_log_probabilities(dataset: Dataset) -> None:
    trace = Trace(len(dataset.validation))
    commit(trace, range(1, 100))
    commit(trace, range(100, 110), excess=0.5, **LOG_PROBS)
    found = settled(normalization.check(evidence(dataset, trace)), Status.FAIL)
    assert found.value("rows_above_one") == 10


@pytest.mark.parametrize("excess", [900.0, 3e38])
def test_a_sum_beyond_any_number_is_a_finding_and_not_a_crash(dataset: Dataset, excess: float) -> None:
    trace = clean_trace(len(dataset.validation), excess=excess, **LOG_PROBS)
    found = settled(normalization.check(evidence(dataset, trace)), Status.FAIL)
    assert found.witness is not None and np.isfinite(found.witness.data["sum"])


def test_without_rows_normalization_is_not_run(dataset: Dataset) -> None:
    settled(normalization.check(evidence(dataset, Trace(len(dataset.validation)))), Status.NOT_RUN)


# single-pass


def test_every_position_once_and_in_order_passes(dataset: Dataset) -> None:
    found = settled(single_pass.check(evidence(dataset)), Status.PASS)
    assert found.value("positions_scored") == found.value("positions") == len(dataset.validation) - 1


@pytest.mark.parametrize("gap", [[5, 6, 7, 190, 191], [4000]])
def test_a_gap_fails(dataset: Dataset, gap: list[int]) -> None:
    tokens = len(dataset.validation)
    trace = Trace(tokens)
    commit(trace, [p for p in range(1, tokens) if p not in gap])
    found = settled(single_pass.check(evidence(dataset, trace)), Status.FAIL)
    assert found.witness is not None
    assert found.witness.data == {"scored_again": [], "never_scored": gap, "out_of_order": []}
    assert found.value("never_scored") == len(gap) and found.value("scored_again") == 0


@pytest.mark.parametrize(("gap", "layout"), [([1, 2], "E"), ([-2, -1], "D"), ([1, -1], "D and E"), ([9, 10], "F")])
def test_what_accepted_records_leave_out_is_named_and_held_against_nobody(
    dataset: Dataset, gap: list[int], layout: str
) -> None:
    tokens = len(dataset.validation)
    left = {p % tokens for p in gap}
    trace = Trace(tokens)
    commit(trace, [p for p in range(1, tokens) if p not in left])
    found = settled(single_pass.check(evidence(dataset, trace)), Status.PASS)
    assert "never scored" in found.headline and str(found.value("layout")).startswith(f"{layout}:")
    settled(single_pass.check(evidence(dataset, trace, ruleset=rules.load("strict"))), Status.FAIL)


@pytest.mark.parametrize("first", [True, False])
def test_to_leave_out_more_than_they_do_fails(dataset: Dataset, first: bool) -> None:
    """One position in fifty, at an end that may be chosen by what it costs."""
    tokens = len(dataset.validation)
    few = tokens // 50
    trace = Trace(tokens)
    commit(trace, range(1 + few, tokens) if first else range(1, tokens - few))
    settled(single_pass.check(evidence(dataset, trace)), Status.FAIL)


def test_a_second_row_changes_nothing_and_is_named(dataset: Dataset) -> None:
    tokens = len(dataset.validation)
    trace = Trace(tokens)
    commit(trace, range(1, 11))
    commit(trace, [9, 9, 4], nll=0.1)
    commit(trace, range(11, tokens))
    found = settled(single_pass.check(evidence(dataset, trace)), Status.UNRULED)
    assert found.witness is not None and found.witness.data["scored_again"] == [4, 9]
    assert found.value("scored_again") == 3 and trace.nll[9] == 2.0


def test_a_second_pass_fails(dataset: Dataset) -> None:
    trace = clean_trace(len(dataset.validation))
    commit(trace, range(1, 30), nll=0.1)
    settled(single_pass.check(evidence(dataset, trace)), Status.FAIL)


def test_gaps_and_duplicates_are_both_named(dataset: Dataset) -> None:
    trace = Trace(len(dataset.validation))
    commit(trace, [1, 2, 2])
    found = settled(single_pass.check(evidence(dataset, trace)), Status.FAIL)
    assert "scored again" in found.headline and "never scored" in found.headline


def test_another_order_is_unruled_or_a_violation_as_the_rules_have_it(dataset: Dataset) -> None:
    tokens = len(dataset.validation)
    trace = Trace(tokens)
    commit(trace, range(101, tokens))
    commit(trace, range(1, 101))
    found = settled(single_pass.check(evidence(dataset, trace)), Status.UNRULED)
    assert found.value("steps_back") == 1 and found.witness is not None
    assert found.witness.data["out_of_order"] == [101]
    assert trace.order[101] < trace.order[100]
    settled(single_pass.check(evidence(dataset, trace, ruleset=taking("forbidden", "steps_back"))), Status.FAIL)


# determinism


def test_two_equal_runs_agree(dataset: Dataset) -> None:
    settled(determinism.check(evidence(dataset)), Status.PASS)


def test_without_a_second_run_determinism_is_not_run(dataset: Dataset) -> None:
    settled(determinism.check(evidence(dataset, difference=None, again=None)), Status.NOT_RUN)


@pytest.mark.parametrize(
    "difference",
    [
        Difference(positions=100, changed=1, max_nll=2e-5, max_print=0.0, missing=0),
        Difference(positions=100, changed=1, max_nll=0.0, max_print=2e-5, missing=0),
        Difference(positions=99, changed=0, max_nll=0.0, max_print=0.0, missing=1),
        Difference(positions=0, changed=0, max_nll=0.0, max_print=0.0, missing=0),
    ],
)
def test_runs_that_differ_are_inconclusive(dataset: Dataset, difference: Difference) -> None:
    settled(determinism.check(evidence(dataset, difference=difference)), Status.INCONCLUSIVE)


def test_runs_that_differ_by_rounding_cost_nobody_a_verdict(dataset: Dataset) -> None:
    """Flips take changes up to `ROUNDING` for none, and so does this."""
    rounding = Difference(positions=100, changed=90, max_nll=1e-6, max_print=9e-6, missing=0)
    assert rounding.max_print < ROUNDING
    found = settled(determinism.check(evidence(dataset, difference=rounding)), Status.PASS)
    assert "within rounding" in found.headline
    settled(isolation.check(evidence(dataset, difference=rounding)), Status.PASS)


def test_the_tolerance_is_four_times_the_noise(dataset: Dataset) -> None:
    noisy = Difference(positions=100, changed=1, max_nll=0.25, max_print=0.5, missing=0)
    assert evidence(dataset, difference=noisy).tolerance == 2.0
    assert evidence(dataset).tolerance == 0.0 and evidence(dataset, difference=None).tolerance == 0.0


# isolation


def noticing(dataset: Dataset, *notices: str) -> Trace:
    trace = clean_trace(len(dataset.validation))
    trace.notices = list(notices)
    return trace


def test_a_closed_box_passes(dataset: Dataset) -> None:
    found = settled(isolation.check(evidence(dataset)), Status.PASS)
    assert "a second fresh sandbox gave the same rows" in found.headline and found.value("enforced") is True
    alone = settled(isolation.check(evidence(dataset, difference=None)), Status.PASS)
    assert "second" not in alone.headline and alone.value("reload_agrees") is None


@pytest.mark.parametrize("level", [CLOSED, OPEN])
def test_an_attempt_to_use_the_network_fails(dataset: Dataset, level) -> None:
    trace = noticing(dataset, "process: os.system ls", "network: socket.connect ('93.184.215.14', 80)")
    found = settled(isolation.check(evidence(dataset, trace, level=level)), Status.FAIL)
    assert found.witness is not None and "93.184.215.14" in found.witness.summary
    assert found.value("network_attempts") == 1 and found.value("other_events") == 1


@pytest.mark.parametrize("notice", ["network: socket.bind ('127.0.0.1', 0)", "process: subprocess.Popen uname"])
def test_loopback_and_processes_do_not(dataset: Dataset, notice: str) -> None:
    settled(isolation.check(evidence(dataset, noticing(dataset, notice))), Status.PASS)


@pytest.mark.parametrize(
    "level", [OPEN, dataclasses.replace(CLOSED, network=False), dataclasses.replace(CLOSED, filesystem=False)]
)
def test_a_box_that_could_not_be_closed_is_inconclusive(dataset: Dataset, level) -> None:
    settled(isolation.check(evidence(dataset, level=level)), Status.INCONCLUSIVE)


def test_a_second_box_that_scores_otherwise_is_inconclusive(dataset: Dataset) -> None:
    differs = Difference(positions=100, changed=1, max_nll=1e-4, max_print=0.0, missing=0)
    settled(isolation.check(evidence(dataset, difference=differs)), Status.INCONCLUSIVE)

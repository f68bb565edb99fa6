"""causality and score-before-update: what flips and the ledger say, alone and together."""

from __future__ import annotations

import numpy as np
import pytest

from harness.audit import causality, score_before_update
from harness.corpus.dataset import Dataset
from harness.record import Status
from harness.referee.source import Probe
from harness.referee.trace import Difference, Trace
from tests.audit.evidence_builder import (
    clean_trace,
    commit,
    evidence,
    leak,
    probe_result,
    read,
    settled,
    taking,
)


def noise(size: float) -> Difference:
    return Difference(positions=100, changed=1, max_nll=size, max_print=0.0, missing=0)


def test_clean_probes_pass_and_say_what_they_looked_at(dataset: Dataset) -> None:
    found = settled(causality.check(evidence(dataset, probes=[probe_result(50), probe_result(90)])), Status.PASS)
    assert found.value("probes_made") == 2 and found.value("rows_compared") == 40 + 80
    assert found.value("rows_moved_before") == 0 and found.not_covered
    flips = found.figures["flips"]["probes"]
    assert [p["status"] for p in flips] == ["clean", "clean"] and flips[0]["changed"] == [[51, 0.5]]


def test_one_leak_among_many_probes_fails_with_a_witness(dataset: Dataset) -> None:
    probes = [probe_result(20), leak(60), probe_result(90)]
    found = settled(causality.check(evidence(dataset, probes=probes)), Status.FAIL)
    assert found.witness is not None and found.witness.kind == "suffix"
    data = found.witness.data
    assert data["position"] == 60 and data["shift"] == 17
    assert data["token"] == dataset.validation[60] and data["new_token"] == dataset.validation[77]
    assert data["affected"][0] == {"position": 60, "before": 2.0, "after": 1.0}  # the largest first
    assert found.value("earliest") == 53 and found.value("reach") == 7
    assert found.value("probes_that_leak") == 1 and "in 1 of 3 tests" in found.headline


def test_the_witness_of_a_swap_names_both_tokens_as_text(dataset: Dataset) -> None:
    probe = Probe("swap", 60, token=int(dataset.validation[61]), token_class="rare")
    found = settled(causality.check(evidence(dataset, probes=[leak(60, probe=probe)])), Status.FAIL)
    assert found.witness is not None and found.witness.kind == "swap"
    data = found.witness.data
    assert data["new_token"] == dataset.validation[61] and data["token_class"] == "rare"
    assert data["new_text"] == dataset.tokenizer.decode(dataset.validation[61:62])
    assert data["context_before"] == dataset.tokenizer.decode(dataset.validation[48:60])


def test_a_leak_without_a_positive_control_fails_too(dataset: Dataset) -> None:
    settled(causality.check(evidence(dataset, probes=[leak(60, control=0)])), Status.FAIL)


def test_a_leak_before_the_submission_broke_fails_too(dataset: Dataset) -> None:
    settled(causality.check(evidence(dataset, probes=[leak(60, error="ended early")])), Status.FAIL)


def test_the_largest_of_many_leaks_is_the_witness(dataset: Dataset) -> None:
    small = probe_result(30, violations=[(30, 2.0, 2.001, 0.0)], violated=1)
    found = settled(causality.check(evidence(dataset, probes=[small, leak(60)])), Status.FAIL)
    assert found.witness is not None and found.witness.data["position"] == 60
    assert found.value("earliest") == 30


def test_no_probes_is_not_run(dataset: Dataset) -> None:
    settled(causality.check(evidence(dataset, probes=[])), Status.NOT_RUN)


@pytest.mark.parametrize(
    ("probes", "says"),
    [
        ([probe_result(40, control=0), probe_result(50, control=0)], "the tests say nothing"),
        ([probe_result(40, ran=False), probe_result(50, ran=False)], "the tests say nothing"),
        (
            [probe_result(40), probe_result(50, error="its process ended")],
            "in 1 tests with other text the submission failed",
        ),
    ],
)
def test_silence_that_proves_nothing_is_inconclusive(dataset: Dataset, probes: list, says: str) -> None:
    found = settled(causality.check(evidence(dataset, probes=probes)), Status.INCONCLUSIVE)
    assert says in found.headline


def test_too_much_noise_is_inconclusive_and_a_little_is_not(dataset: Dataset) -> None:
    settled(causality.check(evidence(dataset, difference=noise(1e-6))), Status.PASS)
    found = settled(causality.check(evidence(dataset, difference=noise(0.1))), Status.INCONCLUSIVE)
    assert "0.1 nats" in found.headline


def test_probes_that_were_not_made_are_said(dataset: Dataset) -> None:
    found = causality.check(evidence(dataset, probes=[probe_result(40), probe_result(50, ran=False)]))
    assert any("1 planned tests" in line for line in found.not_covered)


# score-before-update


def trained_after(tokens: int) -> Trace:
    """Test-time training after every commit."""
    trace = Trace(tokens)
    for start in range(0, tokens - 1, 100):
        stop = min(start + 100, tokens - 1)
        read(trace, start, stop)
        commit(trace, range(start + 1, stop + 1))
        trace.update(2, 2)
    return trace


def adapted_before(tokens: int) -> Trace:
    """SLOT: updates between the read and the commit."""
    trace = Trace(tokens)
    for start in range(0, tokens - 1, 100):
        stop = min(start + 100, tokens - 1)
        read(trace, start, stop)
        trace.update(8, 8)
        commit(trace, range(start + 1, stop + 1))
    return trace


def test_no_update_is_a_fixed_predictor(dataset: Dataset) -> None:
    found = settled(score_before_update.check(evidence(dataset)), Status.PASS)
    assert "Track A" in found.headline and found.value("update_groups") == 0


def test_updates_after_the_commit_pass(dataset: Dataset) -> None:
    trace = trained_after(len(dataset.validation))
    found = settled(score_before_update.check(evidence(dataset, trace, probes=[leak()])), Status.PASS)
    assert "Track B" in found.headline and found.value("updates_early") == 0


def test_updates_before_the_commit_with_clean_flips_are_unruled(dataset: Dataset) -> None:
    trace = adapted_before(len(dataset.validation))
    found = settled(score_before_update.check(evidence(dataset, trace)), Status.UNRULED)
    assert found.value("updates_early") == found.value("update_groups")
    assert "#1336" in found.headline


def test_rules_that_settle_it_are_followed(dataset: Dataset) -> None:
    trace = adapted_before(len(dataset.validation))
    for ruling, status in (("tolerated", Status.PASS), ("forbidden", Status.FAIL)):
        ruleset = taking(ruling, "adaptation_before_scoring")
        found = settled(score_before_update.check(evidence(dataset, trace, ruleset=ruleset)), status)
        assert "#1336" in found.headline  # what was seen is said, whatever the ruling


@pytest.mark.parametrize("facts", [{}, {"control": 0}, {"error": "ended early"}])
def test_updates_before_the_commit_that_the_flips_see_fail(dataset: Dataset, facts: dict) -> None:
    trace = adapted_before(len(dataset.validation))
    found = settled(
        score_before_update.check(evidence(dataset, trace, probes=[probe_result(20), leak(60, **facts)])), Status.FAIL
    )
    assert found.witness is not None and found.witness.kind == "suffix" and found.witness.data["position"] == 60


@pytest.mark.parametrize("probes", [[], [probe_result(control=0)], [probe_result(error="ended early")]])
def test_updates_before_the_commit_without_flips_are_inconclusive(dataset: Dataset, probes: list) -> None:
    trace = adapted_before(len(dataset.validation))
    settled(score_before_update.check(evidence(dataset, trace, probes=probes)), Status.INCONCLUSIVE)


def test_a_flip_that_was_cut_leaves_updates_before_the_commit_open(dataset: Dataset) -> None:
    trace = adapted_before(len(dataset.validation))
    cut = "evaluation failed: it used more than 600 CPU seconds (--timeout raises this limit)"
    made = evidence(dataset, trace)
    made.probes = [*made.probes, probe_result(60, error=cut)]
    for check in (score_before_update.check, causality.check):
        assert cut in settled(check(made), Status.INCONCLUSIVE).headline


def test_the_ledgers_figure_shows_reads_commits_and_updates(dataset: Dataset) -> None:
    trace = adapted_before(len(dataset.validation))
    events = score_before_update.check(evidence(dataset, trace)).figures["ledger"]["events"]
    assert events[:3] == [
        {"kind": "read", "start": 0, "end": 100, "order": 0},
        {"kind": "update", "start": 0, "end": 1, "order": 1},
        {"kind": "commit", "start": 1, "end": 101, "order": 2},
    ]


def test_an_event_that_read_nothing_can_be_drawn(dataset: Dataset) -> None:
    trace = clean_trace(len(dataset.validation))
    trace.read(np.zeros((0, 2), np.int64), trace.events[0].purpose)  # type: ignore[union-attr]
    settled(score_before_update.check(evidence(dataset, trace)), Status.PASS)

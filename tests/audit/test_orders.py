"""Orders of scoring that are not the stream's: which of them let rows know what follows, and which are a practice."""

from __future__ import annotations

import numpy as np
import pytest

from harness.audit import causality, single_pass
from harness.audit.evidence import Evidence
from harness.corpus.dataset import Dataset
from harness.record import Status
from harness.referee.comparator import ProbeResult
from harness.referee.source import Probe
from harness.referee.trace import Trace
from tests.audit.evidence_builder import commit, evidence, probe_result, read, settled


def starts(dataset: Dataset) -> list[int]:
    return np.flatnonzero(dataset.validation == dataset.tokenizer.bos_id).tolist()


def even_then_odd(dataset: Dataset, *results: ProbeResult) -> Evidence:
    """Every even position first, then the odd ones."""
    trace = Trace(len(dataset.validation))
    read(trace, 0, trace.tokens)
    for first in (2, 1):
        commit(trace, range(first, trace.tokens, 2))
    return evidence(dataset, trace, probes=[probe_result(), *results])


def flip(position: int, **facts: object) -> ProbeResult:
    return probe_result(position, probe=Probe("swap", position, token=7), **facts)


def test_a_row_that_knows_what_follows_in_its_document_is_a_violation(dataset: Dataset) -> None:
    position = starts(dataset)[1] + 8
    offender = even_then_odd(dataset, flip(position, crossed=[(position - 1, 0.3)]))
    for check in (causality.check, single_pass.check):
        found = settled(check(offender), Status.FAIL)
        assert f"{position - 1:,}" in found.headline and f"{position:,}" in found.headline
    witness = causality.check(offender).witness
    assert witness is not None and witness.kind == "swap" and witness.data["crossed"] == [position - 1, 0.3]


def test_an_order_that_no_row_makes_use_of_is_a_practice(dataset: Dataset) -> None:
    clean = even_then_odd(dataset)
    settled(causality.check(clean), Status.PASS)
    found = settled(single_pass.check(clean), Status.UNRULED)
    assert int(str(found.value("steps_back_inside"))) > 100


@pytest.mark.parametrize(
    ("ahead", "behind", "status"),
    [(True, False, Status.PASS), (False, True, Status.PASS), (True, True, Status.FAIL)],
)
def test_rows_may_know_what_is_before_them_in_one_of_two_orders_and_not_some_of_each(
    dataset: Dataset, ahead: bool, behind: bool, status: Status
) -> None:
    """Of other documents: ahead in the stream and scored before, or behind in the stream and scored later."""
    first, second, third = starts(dataset)[1:4]
    facts = {
        "crossed": [(first + 5, 0.2)] if ahead else [],
        "backwards": [(third + 5, 0.2)] if behind else [],
    }
    assert first + 5 < second
    settled(causality.check(even_then_odd(dataset, flip(second + 5, **facts))), status)


def test_in_stream_order_there_is_nothing_of_the_kind(dataset: Dataset) -> None:
    settled(causality.check(evidence(dataset)), Status.PASS)
    settled(single_pass.check(evidence(dataset)), Status.PASS)


def test_a_row_that_was_due_and_did_not_come_is_a_violation_with_a_witness(dataset: Dataset) -> None:
    silent = flip(50, withheld=[48, 49], violated=2)
    found = settled(causality.check(evidence(dataset, probes=[probe_result(), silent])), Status.FAIL)
    assert "did not come" in found.headline and found.value("rows_withheld") == 2
    assert found.witness is not None and found.witness.data["withheld"] == [48, 49]
    assert found.value("earliest") == 48


def test_fewer_positions_than_a_pass_takes_is_no_pass(dataset: Dataset) -> None:
    few = [probe_result(40 + n, probe=Probe("swap", 40 + n, token=7), still=[40 + n]) for n in range(5)]
    found = settled(causality.check(evidence(dataset, probes=few, planned=24)), Status.INCONCLUSIVE)
    assert "5 replaced tokens" in found.headline and "24" in found.headline
    settled(causality.check(evidence(dataset, probes=few, planned=5)), Status.PASS)

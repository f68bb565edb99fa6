"""Claims of single probabilities: partial sums, whole rows, and what neither can say."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from harness.audit import normalization
from harness.audit.evidence import Evidence
from harness.corpus.dataset import Dataset
from harness.record import Status
from harness.referee.source import ALTERNATIVE, Probe
from harness.referee.wholerow import WholeRow
from harness.sandbox.protocol import Rows
from tests.audit.evidence_builder import clean_trace, evidence, probe_result, settled


def claims(dataset: Dataset, **changes: Any) -> Evidence:
    """Claims of probability exp(-2) for every token, and no question asked."""
    trace = clean_trace(len(dataset.validation), kind=Rows.REALISED, **changes.pop("row_of", {}))
    return evidence(dataset, trace, **changes)


def answers(position: int, probabilities: list[float]) -> list:
    """Claims for other tokens at one position."""
    return [
        probe_result(
            probe=Probe("swap", position, token=token, token_class=ALTERNATIVE), own=(2.0, float(-np.log(probability)))
        )
        for token, probability in enumerate(probabilities)
    ]


def whole(dataset: Dataset, total: float, *, noise: float = 0.0, missing: int = 1) -> WholeRow:
    """A row of equal probabilities."""
    size = dataset.vocab_size
    log_probs = np.full(size, np.log(total / (size - missing)))
    log_probs[:missing] = np.nan
    return WholeRow(start=0, length=48, position=30, log_probs=log_probs, noise=noise)


def test_without_a_question_nothing_is_known(dataset: Dataset) -> None:
    settled(normalization.check(claims(dataset)), Status.INCONCLUSIVE)


def test_why_ranks_are_not_asked_is_said(dataset: Dataset) -> None:
    why = "several ranks, which talk to each other, cannot be split alike"
    found = settled(normalization.check(claims(dataset, unsplit=why)), Status.INCONCLUSIVE)
    assert why in found.headline and any(why in line for line in found.not_covered)


def test_parts_that_sum_to_less_pass(dataset: Dataset) -> None:
    found = settled(normalization.check(claims(dataset, probes=answers(50, [0.001, 0.0012, 0.0011]))), Status.PASS)
    assert found.power["rows asked for in full"] == 0 and any("whole rows" in line for line in found.not_covered)


def test_a_part_that_sums_to_more_fails(dataset: Dataset) -> None:
    found = settled(normalization.check(claims(dataset, probes=answers(50, [0.6, 0.4]))), Status.FAIL)
    assert found.witness is not None and found.witness.kind == "kraft" and found.witness.data["position"] == 50


def test_an_estimate_alone_accuses_nobody(dataset: Dataset) -> None:
    found = settled(normalization.check(claims(dataset, probes=answers(50, [0.05, 0.05, 0.05]))), Status.INCONCLUSIVE)
    assert "estimated" in found.headline


@pytest.mark.parametrize("probes", [[], answers(50, [0.001, 0.0012])])
def test_a_whole_row_that_sums_to_more_fails(dataset: Dataset, probes: list) -> None:
    found = settled(normalization.check(claims(dataset, probes=probes, row=whole(dataset, 1.02))), Status.FAIL)
    assert found.witness is not None and found.witness.kind == "whole row"
    assert found.witness.data["sum"] == pytest.approx(1.02) and found.witness.data["claims"] == dataset.vocab_size - 1
    assert found.power["rows asked for in full"] == 1


@pytest.mark.parametrize("total", [1.0, 1.00001, 0.3])
def test_a_whole_row_that_sums_to_one_or_less_passes(dataset: Dataset, total: float) -> None:
    found = settled(normalization.check(claims(dataset, probes=[], row=whole(dataset, total))), Status.PASS)
    assert f"{total:.6f}" in found.headline


def test_a_row_that_did_not_come_is_said(dataset: Dataset) -> None:
    found = normalization.check(claims(dataset, no_row="evaluation went over its limit of 600 s"))
    assert any("none came (evaluation went over" in line for line in found.not_covered)


def test_a_row_of_a_noisy_scorer_is_inconclusive(dataset: Dataset) -> None:
    row = whole(dataset, 1.02, noise=0.01)
    found = settled(normalization.check(claims(dataset, probes=[], row=row)), Status.INCONCLUSIVE)
    assert "0.01 nats" in found.headline


def test_a_probability_above_one_fails_first(dataset: Dataset) -> None:
    spoilt = claims(dataset, row_of={"nll": -0.5}, row=whole(dataset, 2.0))
    found = settled(normalization.check(spoilt), Status.FAIL)
    assert found.witness is not None and found.witness.kind == "row"


def test_rows_in_full_are_judged_as_ever(dataset: Dataset) -> None:
    settled(normalization.check(dataclasses.replace(evidence(dataset), row=None)), Status.PASS)

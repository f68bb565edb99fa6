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
from harness.referee.trace import Difference
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


def whole(dataset: Dataset, total: float, *, missing: int = 1, apart: float = 0.0) -> WholeRow:
    """A row of equal probabilities; the scored run claimed the real token's, or another one that is `apart`."""
    size = dataset.vocab_size
    log_probs = np.full(size, np.log(total / (size - missing)))
    log_probs[:missing] = np.nan
    real = int(dataset.validation[30])
    return WholeRow(length=48, position=30, log_probs=log_probs, claimed=float(log_probs[real]) + apart, noise=0.0)


def test_without_a_question_nothing_is_known(dataset: Dataset) -> None:
    settled(normalization.check(claims(dataset)), Status.INCONCLUSIVE)


def test_why_ranks_are_not_asked_is_said(dataset: Dataset) -> None:
    why = "several ranks, which talk to each other, cannot be split alike"
    found = settled(normalization.check(claims(dataset, unsplit=why)), Status.INCONCLUSIVE)
    assert why in found.headline and any(why in line for line in found.not_covered)


def test_parts_that_sum_to_less_say_nothing_of_the_rest(dataset: Dataset) -> None:
    parts = answers(50, [0.001, 0.0012, 0.0011])
    found = settled(normalization.check(claims(dataset, probes=parts)), Status.INCONCLUSIVE)
    assert found.power["rows asked for in full"] == 0 and any("whole rows" in line for line in found.not_covered)


def test_a_part_that_sums_to_more_fails(dataset: Dataset) -> None:
    found = settled(normalization.check(claims(dataset, probes=answers(50, [0.6, 0.4]))), Status.FAIL)
    assert found.witness is not None and found.witness.kind == "kraft" and found.witness.data["position"] == 50


def test_an_estimate_alone_accuses_nobody(dataset: Dataset) -> None:
    found = settled(normalization.check(claims(dataset, probes=answers(50, [0.05, 0.05, 0.05]))), Status.INCONCLUSIVE)
    assert "estimated" in found.headline


@pytest.mark.parametrize("probes", [[], answers(50, [0.001, 0.0012])])
def test_a_whole_row_that_sums_to_more_fails(dataset: Dataset, probes: list) -> None:
    rows = [whole(dataset, 0.9), whole(dataset, 1.02)]
    found = settled(normalization.check(claims(dataset, probes=probes, rows=rows)), Status.FAIL)
    assert found.witness is not None and found.witness.kind == "whole row"
    assert found.witness.data["sum"] == pytest.approx(1.02) and found.witness.data["claims"] == dataset.vocab_size - 1
    assert found.power["rows asked for in full"] == 2


@pytest.mark.parametrize("total", [1.0, 1.00001, 0.3])
def test_a_whole_row_that_sums_to_one_or_less_passes(dataset: Dataset, total: float) -> None:
    found = settled(normalization.check(claims(dataset, probes=[], rows=[whole(dataset, total)])), Status.PASS)
    assert f"{total:.6f}" in found.headline


def test_a_row_that_did_not_come_is_said(dataset: Dataset) -> None:
    found = normalization.check(claims(dataset, no_row="evaluation went over its limit of 600 s"))
    assert any("none came (evaluation went over" in line for line in found.not_covered)


def test_a_row_of_a_noisy_scorer_is_inconclusive(dataset: Dataset) -> None:
    noisy = Difference(positions=100, changed=100, max_nll=0.01, max_print=0.01, missing=0)
    made = claims(dataset, probes=[], rows=[whole(dataset, 1.02)], difference=noisy)
    found = settled(normalization.check(made), Status.INCONCLUSIVE)
    assert "0.01 nats" in found.headline


def test_a_row_that_the_scored_run_did_not_claim_says_nothing(dataset: Dataset) -> None:
    """Honest where it is asked, and four times as much where it counts."""
    row = whole(dataset, 0.99, apart=1.386)
    found = settled(normalization.check(claims(dataset, probes=[], rows=[row])), Status.INCONCLUSIVE)
    assert "1.39 nats" in found.headline


def test_a_probability_above_one_fails_first(dataset: Dataset) -> None:
    spoilt = claims(dataset, row_of={"nll": -0.5}, rows=[whole(dataset, 2.0)])
    found = settled(normalization.check(spoilt), Status.FAIL)
    assert found.witness is not None and found.witness.kind == "row"


def test_rows_in_full_are_judged_as_ever(dataset: Dataset) -> None:
    settled(normalization.check(dataclasses.replace(evidence(dataset), rows=[])), Status.PASS)

"""Claims of single probabilities: partial sums, whole rows, and what neither can say."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from harness.audit import normalization
from harness.audit.evidence import Evidence
from harness.audit.kraft import log_wealth
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
            probe=Probe("swap", position, token=token, token_class=ALTERNATIVE), claimed=float(-np.log(probability))
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
    assert found.value("rows_asked") == 0 and any("whole rows" in line for line in found.not_covered)


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
    assert found.value("rows_asked") == 2


@pytest.mark.parametrize("total", [1.0, 1.00001, 0.3])
def test_a_whole_row_that_sums_to_one_or_less_passes(dataset: Dataset, total: float) -> None:
    found = settled(normalization.check(claims(dataset, probes=[], rows=[whole(dataset, total)])), Status.PASS)
    assert f"{total:.6f}" in found.headline


def draws(dataset: Dataset, over: float, count: int = 3000, seed: int = 0) -> list:
    """Claims for tokens that were drawn from another distribution than the one that is claimed, times 1 + `over`."""
    rng = np.random.default_rng(seed)
    made = []
    for position in range(20, 20 + count):
        held, drawn_from = rng.dirichlet(np.full(40, 0.3)), rng.dirichlet(np.full(40, 0.5))
        mixed = 0.5 * drawn_from + 0.5 * held
        token = int(rng.choice(40, p=mixed))
        odds = float(np.log(mixed[token]))
        probe = Probe("swap", position, token=token, token_class=ALTERNATIVE, split=False, odds=odds)
        claimed = min(held[token] * (1 + over), 0.9)
        made.append(probe_result(probe=probe, claimed=float(-np.log(max(claimed, 1e-300)))))
    return made


@pytest.mark.parametrize(("over", "status"), [(0.0, Status.PASS), (0.3, Status.FAIL)])
def test_bets_on_drawn_tokens_tell_a_distribution_from_claims_that_sum_to_more(
    dataset: Dataset, over: float, status: Status
) -> None:
    row = whole(dataset, 0.99)
    made = claims(dataset, probes=draws(dataset, over), rows=[row], row_of={"nll": 5.0})
    found = settled(normalization.check(made), status)
    assert found.value("tokens_drawn") == 3000
    assert (status == Status.FAIL) == (found.witness is not None and found.witness.kind == "draws")


def test_bets_against_distributions_do_not_win() -> None:
    """Ville: a factor of e^k is reached with a probability of at most e^-k, whatever is held and drawn from."""
    rng = np.random.default_rng(5)
    won = []
    for _ in range(3000):
        held, drawn_from = rng.dirichlet(np.full(12, 0.2), 150), rng.dirichlet(np.full(12, 0.4), 150)
        tokens = (drawn_from.cumsum(1) > rng.random((150, 1))).argmax(1)
        made = [
            (
                Probe("swap", 1, token=int(token), odds=float(np.log(chance[token]))),
                float(-np.log(claim[token] + 1e-300)),
            )
            for token, chance, claim in zip(tokens, drawn_from, held, strict=True)
        ]
        won.append(log_wealth(made))
    for k in (1.0, 2.0, 4.0):
        assert np.mean(np.array(won) >= k) <= np.exp(-k) + 3 * np.sqrt(np.exp(-k) / len(won))


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

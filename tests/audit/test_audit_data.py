"""data-split, artifact-independence, document-boundary, null-stream and Kraft sums on hand-made evidence."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from harness.audit import artifact_independence, data_split, document_boundary, normalization, null_stream
from harness.audit.evidence import NullRun
from harness.corpus.dataset import Dataset
from harness.corpus.shards import write_shard
from harness.record import Status
from harness.referee.null import CERTAIN, Saving
from harness.referee.source import ALTERNATIVE, DOCUMENT_END, Probe
from harness.referee.wholerow import WholeRow
from harness.sandbox.protocol import Rows
from tests.audit.evidence_builder import OPEN, clean_trace, evidence, probe_result, settled


def test_a_clean_split_passes(dataset: Dataset) -> None:
    found = settled(data_split.check(evidence(dataset)), Status.PASS)
    assert found.value("train_documents") > 10 and found.value("train_share") == 1.0


def test_a_validation_document_in_the_training_data_is_found(dataset: Dataset, tmp_path: Path) -> None:
    assert dataset.texts is not None
    stolen = dataset.texts[3]
    tokens = dataset.tokenizer.stream(["Some other text that stands before it.", stolen[20:]])
    write_shard(tmp_path / "fineweb_train_000000.bin", tokens)
    spoiled = dataclasses.replace(dataset, train_shards=(*dataset.train_shards, tmp_path / "fineweb_train_000000.bin"))
    found = settled(data_split.check(evidence(spoiled)), Status.FAIL)
    assert found.witness is not None and found.witness.data["document"] == 3
    assert stolen[:40] in found.witness.data["text"]


def test_the_artifact_is_independent_where_the_box_was_closed(dataset: Dataset) -> None:
    settled(artifact_independence.check(evidence(dataset)), Status.PASS)
    settled(artifact_independence.check(evidence(dataset, level=OPEN)), Status.INCONCLUSIVE)


def _boundary(effects: list[tuple[int, float]]):
    return probe_result(50, probe=Probe("swap", 50, token=3, token_class=DOCUMENT_END), effects=effects)


def test_document_boundaries_are_information(dataset: Dataset) -> None:
    settled(document_boundary.check(evidence(dataset)), Status.NOT_RUN)
    moved = settled(document_boundary.check(evidence(dataset, probes=[_boundary([(53, 0.25)])])), Status.PASS)
    assert moved.value("largest_change_next") == 0.25
    only_bos = settled(document_boundary.check(evidence(dataset, probes=[_boundary([(51, 0.25)])])), Status.PASS)
    assert only_bos.value("rows_moved_next") == 0


def test_a_claim_of_isolation_is_held_to(dataset: Dataset) -> None:
    claims = {"document_isolated": True}
    found = document_boundary.check(evidence(dataset, probes=[_boundary([(53, 0.25)])], claims=claims))
    assert settled(found, Status.FAIL).witness is not None
    settled(document_boundary.check(evidence(dataset, probes=[_boundary([(51, 0.2)])], claims=claims)), Status.PASS)


@pytest.mark.parametrize(
    ("nats", "status"), [(-300.0, Status.PASS), (5.0, Status.PASS), (CERTAIN, Status.FAIL), (1e5, Status.FAIL)]
)
def test_the_entropy_bound(dataset: Dataset, nats: float, status: Status) -> None:
    run = NullRun("a source", 2.1, Saving(nats, 5000, 0), seed=1, own=True)
    found = settled(null_stream.check(evidence(dataset, null=run)), status)
    expected = max(0.0, CERTAIN - nats) / 5000
    assert found.value("smallest_leak") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("own", "entropy", "nats", "tokens", "status"),
    [
        (False, 2.0, -300.0, 5000, Status.INCONCLUSIVE),  # a leak of 0.06 nats would not have shown
        (False, 2.0, -10.0, 50_000, Status.PASS),  # one of 0.0006 would
        (True, 2.0, -5000.0, 5000, Status.PASS),  # its own model's text, which it scores badly
        (True, 5.7, -5000.0, 5000, Status.INCONCLUSIVE),  # nearly uniform: its model was told to be another
        (True, 5.7, -5.0, 5000, Status.PASS),  # nearly uniform, and scored as whoever drew it would: it is its own
        (True, 0.4, -5000.0, 5000, Status.INCONCLUSIVE),  # nearly certain
        (False, 2.0, 40.0, 5000, Status.FAIL),  # what is seen is seen
    ],
)
def test_a_weak_source_is_never_green(
    dataset: Dataset, own: bool, entropy: float, nats: float, tokens: int, status: Status
) -> None:
    run = NullRun("a source", entropy, Saving(nats, tokens, 0), seed=1, own=own)
    settled(null_stream.check(evidence(dataset, null=run)), status)


def test_without_a_null_stream_nothing_is_claimed(dataset: Dataset) -> None:
    settled(null_stream.check(evidence(dataset)), Status.NOT_RUN)


def _asked(position: int, nlls: list[float]):
    return [
        probe_result(position, probe=Probe("swap", position, token=i, token_class=ALTERNATIVE), claimed=nll)
        for i, nll in enumerate(nlls)
    ]


def test_claims_that_sum_to_more_than_one_are_found(dataset: Dataset) -> None:
    trace = clean_trace(len(dataset.validation), kind=Rows.REALISED)
    row = WholeRow(60, 50, np.full(dataset.vocab_size, -np.log(dataset.vocab_size)), -np.log(dataset.vocab_size), 0.0)
    legal = evidence(dataset, trace, probes=_asked(50, [7.0] * 20), rows=[row])
    settled(normalization.check(legal), Status.PASS)
    settled(normalization.check(dataclasses.replace(legal, rows=[])), Status.INCONCLUSIVE)  # the rest is not known
    fat = evidence(dataset, trace, probes=_asked(50, [2.5] * 20))
    found = settled(normalization.check(fat), Status.FAIL)
    assert found.witness is not None
    assert found.witness.data["sum_at_least"] == pytest.approx(math.exp(-2) + 20 * math.exp(-2.5))
    suspicious = evidence(dataset, trace, probes=_asked(50, [4.5] * 20))
    settled(normalization.check(suspicious), Status.INCONCLUSIVE)
    some = [1.0, *[12.0] * 19]
    peaked = evidence(dataset, trace, probes=_asked(50, some), rows=[row])  # a distribution, though 20 of 320 say 6
    assert settled(normalization.check(peaked), Status.PASS).value("mean_sum") > 2
    settled(normalization.check(evidence(dataset, trace)), Status.INCONCLUSIVE)


def test_a_probability_above_one_is_found(dataset: Dataset) -> None:
    trace = clean_trace(len(dataset.validation), kind=Rows.REALISED)
    trace.nll[7] = -0.5
    found = settled(normalization.check(evidence(dataset, trace)), Status.FAIL)
    assert found.witness is not None and found.witness.data["position"] == 7
    assert np.isfinite(found.witness.data["log_prob"])


def test_a_split_with_nothing_to_compare_is_no_pass(dataset: Dataset) -> None:
    empty = dataclasses.replace(dataset, train_shards=())
    settled(data_split.check(evidence(empty)), Status.INCONCLUSIVE)

"""The main job end to end, at a tiny size: train, seal, score, audit, record, replay."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from harness.adapters.options import Options, played
from harness.adapters.recording import score_of
from harness.adapters.replay import replay
from harness.corpus.dataset import Dataset
from harness.errors import UsageError
from harness.progress import Progress
from harness.record import Record, Status
from harness.referee.trace import Trace
from tests.support import finding, judge, shipped, write_submission

SHIPPED = ["baseline", "causal_slot", "causal_slot_batched", "scored_slot"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def records(home: Path, dataset: Dataset) -> dict[str, Record]:
    """One run of every submission that ships with the harness."""
    found = {}
    for name in SHIPPED:
        folder = write_submission(home / "submissions" / name, code=shipped(name))
        found[name] = judge(folder, dataset, home / name)
    return found


def test_the_baseline_passes_everything_that_applies(records: dict[str, Record]) -> None:
    record = records["baseline"]
    statuses = {found.id: found.status for found in record.findings}
    assert record.verdict == Status.PASS and record.exit_code == 0
    for check in ("train-clock", "eval-clock", "claims", "significance"):
        assert statuses.pop(check) == Status.NOT_APPLICABLE, check
    assert set(statuses.values()) == {Status.PASS}
    causality = finding(record, "causality")
    assert causality.value("probes_made") >= 20
    assert causality.value("probes_with_control") == causality.value("probes_made")
    assert causality.value("rows_compared") > 100


def test_slot_per_window_is_causal_and_unruled(records: dict[str, Record]) -> None:
    record = records["causal_slot"]
    assert finding(record, "causality").status == Status.PASS
    ledger = finding(record, "score-before-update")
    assert ledger.status == Status.UNRULED and ledger.value("optimizer_steps") > 0
    assert record.verdict == Status.UNRULED and record.exit_code == 0 and record.submission.track == "B"


@pytest.mark.parametrize("name", ["causal_slot_batched", "scored_slot"])
def test_leaking_slot_fails_with_a_witness(records: dict[str, Record], name: str) -> None:
    record = records[name]
    assert record.verdict == Status.FAIL and record.exit_code == 1
    for check in ("causality", "score-before-update"):
        found = finding(record, check)
        assert found.status == Status.FAIL and found.witness is not None
    witness = finding(record, "causality").witness
    assert witness is not None
    position = witness.data["position"]
    assert witness.data["affected"] and all(row["position"] <= position for row in witness.data["affected"])
    assert {f.id: f.status for f in record.findings}["single-pass"] == Status.PASS


def test_the_score_is_the_nll_over_the_bytes(records: dict[str, Record], home: Path, dataset: Dataset) -> None:
    score = records["baseline"].score
    assert score is not None
    with np.load(home / "baseline" / "trace.npz", allow_pickle=False) as arrays:
        nll, order = arrays["nll"], arrays["order"]
    assert (order[1:] == np.arange(len(order) - 1)).all()
    text = "".join(dataset.texts or ())
    assert score.bytes == len(text.encode())
    assert score.val_bpb == pytest.approx(nll[1:].sum() / np.log(2) / len(text.encode()), rel=1e-12)


@pytest.mark.parametrize("name", ["causal_slot_batched", "scored_slot"])
def test_a_witness_replays(records: dict[str, Record], home: Path, dataset: Dataset, name: str) -> None:
    folder = write_submission(home / "submissions" / name, code=shipped(name))
    with Progress(quiet=True) as progress:
        seen = replay(
            records[name], home / name / "artifact.bin", "causality", folder, dataset, Options(timeout=120.0), progress
        )
    assert seen.reproduced, seen.why


def test_a_replay_refuses_what_the_record_is_not_about(
    records: dict[str, Record], home: Path, dataset: Dataset, tmp_path: Path
) -> None:
    record = records["scored_slot"]
    artifact = home / "scored_slot" / "artifact.bin"
    folder = write_submission(home / "submissions" / "scored_slot", code=shipped("scored_slot"))
    other = write_submission(tmp_path / "other", code=shipped("baseline"))
    options = Options(timeout=120.0)
    with Progress(quiet=True) as progress:
        with pytest.raises(UsageError, match="has changed since"):
            replay(record, artifact, "causality", other, dataset, options, progress)
        with pytest.raises(UsageError, match="is not the artifact"):
            replay(record, home / "baseline" / "seal.json", "causality", folder, dataset, options, progress)
        with pytest.raises(UsageError, match="no witness"):
            replay(record, artifact, "determinism", folder, dataset, options, progress)
        with pytest.raises(UsageError, match="no finding"):
            replay(record, artifact, "nonsense", folder, dataset, options, progress)


def test_the_same_inputs_give_the_same_record(records: dict[str, Record], home: Path, dataset: Dataset) -> None:
    folder = write_submission(home / "submissions" / "baseline", code=shipped("baseline"))
    again = judge(folder, dataset, home / "again")
    first = records["baseline"]
    assert again.artifact is not None and first.artifact is not None
    assert again.artifact.sha256 == first.artifact.sha256
    assert again.digest == first.digest == first.computed_digest()


def test_another_nonce_is_another_audit_of_the_same_artifact(
    records: dict[str, Record], home: Path, dataset: Dataset
) -> None:
    """What is tried, and the order of documents, follow from a nonce that nobody knows before, unless it is named."""
    folder = write_submission(home / "submissions" / "baseline", code=shipped("baseline"))
    first = records["baseline"]
    assert first.audit is not None and first.audit.seed == 7 and first.audit.chosen
    drawn = [judge(folder, dataset, home / "baseline-drawn", audit_seed=None) for _ in range(2)]
    audits = [record.audit for record in drawn]
    assert all(one is not None and not one.chosen for one in audits) and audits[0] != audits[1]
    for record in drawn:
        assert record.artifact is not None and first.artifact is not None
        assert record.artifact.sha256 == first.artifact.sha256 and record.verdict == first.verdict
        assert record.score is not None and first.score is not None
        assert record.score.bytes == first.score.bytes and record.score.val_bpb != first.score.val_bpb
        assert record.data.facts["document_order"] == "drawn by the audit"
    again = judge(folder, dataset, home / "baseline-drawn", audit_seed=drawn[1].audit.seed if drawn[1].audit else None)
    assert again.digest == drawn[1].digest  # only the word that says that it was named differs
    assert again.audit is not None and again.audit.chosen


def test_a_second_run_takes_the_sealed_artifact(records: dict[str, Record], home: Path, dataset: Dataset) -> None:
    folder = write_submission(home / "submissions" / "baseline", code=shipped("baseline"))
    before = (home / "baseline" / "artifact.bin").stat().st_mtime_ns
    again = judge(folder, dataset, home / "baseline")
    assert again.environment["resumed"] is True
    assert (home / "baseline" / "artifact.bin").stat().st_mtime_ns == before
    assert again.digest == records["baseline"].digest


def test_a_damaged_artifact_is_not_taken(records: dict[str, Record], home: Path, dataset: Dataset) -> None:
    folder = write_submission(home / "submissions" / "baseline", code=shipped("baseline"))
    copy = home / "damaged"
    copy.mkdir()
    (copy / "seal.json").write_bytes((home / "baseline" / "seal.json").read_bytes())
    (copy / "artifact.bin").write_bytes((home / "baseline" / "artifact.bin").read_bytes()[:-1] + b"x")
    again = judge(folder, dataset, copy, checks=["size-limit"])
    assert again.environment["resumed"] is False
    assert records["baseline"].artifact is not None
    sealed = hashlib.sha256((copy / "artifact.bin").read_bytes()).hexdigest()
    assert sealed == records["baseline"].artifact.sha256


def test_the_record_reads_back_and_the_report_is_written(records: dict[str, Record], home: Path) -> None:
    for name, record in records.items():
        loaded = Record.load(home / name)
        assert loaded.digest == record.digest == loaded.computed_digest()
        assert json.loads((home / name / "record.json").read_text())["digest"] == record.digest
        page = (home / name / "report.html").read_text()
        assert record.verdict in page and "<script" not in page.lower()


def test_a_long_stream_is_cut_at_a_document(dataset: Dataset) -> None:
    assert len(played(dataset, "record")) == len(dataset.validation) == len(played(dataset, "smoke"))


def test_score_of_counts_scored_positions_only(dataset: Dataset) -> None:
    tokens = np.asarray(dataset.validation)
    trace = Trace(len(tokens))
    trace.nll[1:11] = 2.0
    trace.order[1:11] = np.arange(10)
    loss, bpb, count, size = score_of(trace, dataset)
    expected = int(dataset.table.count(tokens[1:11], tokens[0:10]).sum())
    assert (loss, count, size) == (2.0, 10, expected)
    assert bpb == pytest.approx(20.0 / np.log(2) / expected)

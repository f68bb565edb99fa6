"""Pre-quantization TTT seen by the harness: on a training slice it reads no validation data, on validation it fails."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from harness.adapters.options import Options
from harness.adapters.retraining import retrain
from harness.adapters.training import Sealed, train
from harness.audit import artifact_independence
from harness.corpus.dataset import Dataset
from harness.errors import SubmissionError
from harness.progress import Progress
from harness.record import Finding, Status
from tests.audit.evidence_builder import evidence, settled
from tests.support import shipped, write_submission

SHIPPED = Path(__file__).resolve().parent.parent / "submissions"
SLICE, VALIDATION = "prequant_ttt_train_slice", "causal_slot_prequant"


def trained(name: str, dataset: Dataset, home: Path, **metadata: bool) -> tuple[Sealed, Finding]:
    """The sealed artifact of a shipped submission at the tiny configuration, and what the check says of it."""
    folder = write_submission(home / name, code=shipped(name), **metadata)
    options = Options(timeout=120.0)
    with Progress(quiet=True) as progress:
        sealed = train(folder, dataset, 1, home, options, progress)
        again = retrain(folder, dataset, sealed, 1, home, options, progress) if metadata else None
    return sealed, artifact_independence.check(evidence(dataset, retraining=again))


def test_the_slice_form_is_deterministic_and_does_not_depend_on_validation_data(
    dataset: Dataset, tmp_path: Path
) -> None:
    # given validation data that it has no use for, it seals the same bytes as without any
    given, found = trained(SLICE, dataset, tmp_path / "given", reads_validation=True)
    settled(found, Status.PASS)
    assert found.value("trainings_compared") == 2
    none, _ = trained(SLICE, dataset, tmp_path / "none")
    assert none.sha256 == given.sha256
    log = (tmp_path / "none" / "train.log").read_text()
    assert re.search(r"training tokens, loss by epoch: \[\d\.\d+, \d\.\d+, \d\.\d+\]", log), log


def test_the_validation_form_is_caught(dataset: Dataset, tmp_path: Path) -> None:
    _, found = trained(VALIDATION, dataset, tmp_path, reads_validation=True)
    settled(found, Status.FAIL)
    assert found.witness is not None and found.value("trainings_compared") == 4


def test_the_validation_form_gets_nothing_unless_it_is_declared(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match=r'declares "reads_validation": true in its submission\.json'):
        trained(VALIDATION, dataset, tmp_path)


def test_what_ships_declares_what_it_reads_and_keeps_time_for_it() -> None:
    for name, reads in ((SLICE, False), (VALIDATION, True)):
        declared = json.loads((SHIPPED / name / "submission.json").read_text())
        assert declared.get("reads_validation", False) is reads
    record = runpy.run_path(str(SHIPPED / SLICE / "submission.py"))["PrequantTrainSlice"]("record")
    assert record.train_config().budget == 585.0

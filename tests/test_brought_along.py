"""Whole runs of submissions whose folders hold text: the validation set's, or other text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.adapters.options import Options
from harness.adapters.replay import replay
from harness.corpus.dataset import Dataset
from harness.corpus.shards import read_shard
from harness.folder import open_folder
from harness.progress import Progress
from harness.record import Record, Status
from tests.support import finding, judge, tiny_dataset, write_submission

CHECKS = ["artifact-independence", "isolation"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny_dataset(tmp_path_factory.mktemp("data"))


def played(dataset: Dataset, folder: Path, name: str, content: bytes) -> Record:
    write_submission(folder / "mine")
    (folder / "mine" / name).write_bytes(content)
    return judge(open_folder(folder / "mine"), dataset, folder / "out", checks=CHECKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prior.txt", "prior.bin"])
def test_the_validation_set_in_the_folder_is_found_and_found_again(dataset: Dataset, tmp_path: Path, name: str) -> None:
    assert dataset.texts is not None
    text = "\n\n".join(dataset.texts[:3]).upper().encode()
    content = text if name.endswith("txt") else np.asarray(dataset.validation).astype("<u4").tobytes()
    record = played(dataset, tmp_path, name, content)
    found = finding(record, "artifact-independence")
    assert found.status == Status.FAIL and record.exit_code == 1
    assert found.witness is not None and found.witness.data["file"] == name
    assert finding(record, "isolation").status == Status.PASS
    with Progress(quiet=True) as progress:
        artifact = tmp_path / "out" / "artifact.bin"
        mine = open_folder(tmp_path / "mine")
        again = replay(record, artifact, "artifact-independence", mine, dataset, Options(timeout=120.0), progress)
    assert again.reproduced, again.why


@pytest.mark.slow
def test_training_data_in_the_folder_is_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    record = played(dataset, tmp_path, "prior.bin", read_shard(dataset.train_shards[0]).tobytes())
    found = finding(record, "artifact-independence")
    assert found.status == Status.PASS and found.headline.startswith("by construction")
    assert record.environment["files_searched_for_text"] > 100

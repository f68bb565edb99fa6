"""artifact-independence by training again: validation data that a submission reads must not enter its artifact."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.adapters.options import Options
from harness.adapters.replay import replay
from harness.adapters.retraining import first_difference, other_validation, retrain
from harness.adapters.training import train
from harness.audit import artifact_independence, checks
from harness.audit.evidence import Retraining
from harness.corpus.dataset import Dataset
from harness.errors import SubmissionError, UsageError
from harness.kit.artifact import pack
from harness.progress import Progress
from harness.record import Finding, Status
from tests.audit.evidence_builder import OPEN, evidence, settled
from tests.support import finding, judge, write_submission

CHECK = "artifact-independence"

#: One step on validation tokens before the artifact is sealed (#1376), or only their loss, printed.
PRE_QUANT = """
def after_training(self, model, data):
    tokens = data.validation[:65][None]
    loss = torch.nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[0, 1:])
    print(f"val_loss:{loss.item():.4f}")
"""
STEP = """
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.5 * parameter.grad
"""
RANDOM = """
def after_training(self, model, data):
    import os
    data.validation
    with torch.no_grad():
        next(model.parameters()).mul_(1 + int.from_bytes(os.urandom(2), "little") / 2**16)
"""


#: GPTQ whose Hessians come from this source (#1318 takes validation text).
CALIBRATED = """
def quantize_config(self):
    from harness.kit import Calibration
    how = Calibration({source!r}, inside_clock=False, sequences=4, length=64)
    return QuantizeConfig(bits=4, keep_below=1024, min_range=0.0, gptq=True, calibration=how)
"""


def compared(body: str, dataset: Dataset, home: Path) -> Finding:
    """What the check says of a declared reader, with no evaluation in between."""
    folder = write_submission(home / "reader", body, reads_validation=True)
    options = Options(timeout=120.0)
    with Progress(quiet=True) as progress:
        sealed = train(folder, dataset, 1, home, options, progress)
        runs = retrain(folder, dataset, sealed, 1, home, options, progress)
    return artifact_independence.check(evidence(dataset, retraining=runs))


def test_an_artifact_that_depends_on_validation_data_fails_and_replays(dataset: Dataset, tmp_path: Path) -> None:
    folder = write_submission(tmp_path / "reader", PRE_QUANT + STEP, reads_validation=True)
    record = judge(folder, dataset, tmp_path / "out", checks=[CHECK])
    found = settled(finding(record, CHECK), Status.FAIL)
    assert found.witness is not None and found.value("trainings_compared") == 4 and record.artifact is not None
    data = found.witness.data
    assert data["artifact_sha256"][0] == record.artifact.sha256 != data["artifact_sha256"][1]
    assert "tensor" in data["first_difference"] and len(set(data["validation_sha256"])) == 2
    with Progress(quiet=True) as progress:
        again = replay(record, tmp_path / "out" / "artifact.bin", CHECK, folder, dataset, Options(), progress)
    assert again.reproduced, again.why


def test_a_declared_reader_that_only_reports_passes(dataset: Dataset, tmp_path: Path) -> None:
    found = settled(compared(PRE_QUANT, dataset, tmp_path), Status.PASS)
    assert found.value("trainings_compared") == 2 and "by construction" not in found.headline
    assert any("in common" in line for line in found.not_covered)


def test_calibrating_on_validation_text_is_training_on_it(dataset: Dataset, tmp_path: Path) -> None:
    found = settled(compared(CALIBRATED.format(source="validation"), dataset, tmp_path), Status.FAIL)
    assert "tensor" in found.headline and found.value("trainings_compared") == 4


def test_a_declared_reader_that_calibrates_on_its_own_text_passes(dataset: Dataset, tmp_path: Path) -> None:
    settled(compared(PRE_QUANT + CALIBRATED.format(source="self"), dataset, tmp_path), Status.PASS)


def test_calibration_has_to_be_declared_like_any_other_reading(dataset: Dataset, tmp_path: Path) -> None:
    folder = write_submission(tmp_path / "silent", CALIBRATED.format(source="validation"))
    with pytest.raises(SubmissionError, match=r'declares "reads_validation": true in its submission\.json'):
        judge(folder, dataset, tmp_path / "out", checks=[CHECK])


def test_a_training_that_is_not_reproducible_is_not_accused(dataset: Dataset, tmp_path: Path) -> None:
    found = settled(compared(RANDOM, dataset, tmp_path), Status.INCONCLUSIVE)
    assert "not reproducible" in found.headline and found.value("trainings_compared") == 4


def test_a_training_that_breaks_on_other_data_decides_nothing(dataset: Dataset, tmp_path: Path) -> None:
    first = [int(token) for token in dataset.validation[1:4]]
    body = f"def after_training(self, model, data):\n    assert data.validation[1:4].tolist() == {first}, 'other data'"
    found = settled(compared(body, dataset, tmp_path), Status.INCONCLUSIVE)
    assert "other data" in found.headline


def test_validation_data_has_to_be_declared(dataset: Dataset, tmp_path: Path) -> None:
    folder = write_submission(tmp_path / "silent", PRE_QUANT, reads_validation=False)
    with pytest.raises(SubmissionError, match=r'declares "reads_validation": true in its submission\.json') as told:
        judge(folder, dataset, tmp_path / "out", checks=[CHECK])
    assert told.value.exit_code == 2 and "\n" not in str(told.value)


def test_the_declaration_is_a_truth_value(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="reads_validation: .*boolean"):
        write_submission(tmp_path / "odd", reads_validation="yes")


@given(st.lists(st.integers(1, 300), min_size=2, max_size=200), st.integers(0, 150), st.integers(0, 99))
def test_other_data_has_the_same_documents(dataset: Dataset, tokens: list[int], scored: int, seed: int) -> None:
    stream = np.array([1, *tokens], np.uint16)
    data = dataclasses.replace(dataset, validation=stream)
    real = stream[: max(2, min(scored, len(stream)))]
    other, source = other_validation(data, real, seed)
    assert other.shape == real.shape and other.dtype == np.uint16
    assert np.array_equal(other == 1, real == 1)
    rest = stream[len(real) :]
    pool = rest if len(rest) >= len(real) else real
    assert set(other.tolist()) <= {1, *pool.tolist()} or not (pool != 1).any()
    assert ("not scored" in source) == (pool is rest)
    assert np.array_equal(other, other_validation(data, real, seed)[0])


def test_other_data_of_a_real_stream_is_other_text(dataset: Dataset) -> None:
    real = np.asarray(dataset.validation)
    other, _ = other_validation(dataset, real, 1)
    assert (other != real).mean() > 0.5


FIRST = Retraining("redrawn", 100, ("a", "b"), "x", "x")


def test_equal_artifacts_from_an_open_box_decide_nothing(dataset: Dataset) -> None:
    settled(artifact_independence.check(evidence(dataset, retraining=FIRST)), Status.PASS)
    settled(artifact_independence.check(evidence(dataset, retraining=FIRST, level=OPEN)), Status.INCONCLUSIVE)


def test_one_odd_training_out_of_four_is_no_accusation(dataset: Dataset) -> None:
    for again in (("y", "z"), ("x", "z"), ("y", "y"), ("", "")):
        odd = FIRST.having(second="y", first_again=again[0], second_again=again[1], difference="byte 1")
        settled(artifact_independence.check(evidence(dataset, retraining=odd)), Status.INCONCLUSIVE)
    sure = FIRST.having(second="y", first_again="x", second_again="y", difference="byte 1")
    settled(artifact_independence.check(evidence(dataset, retraining=sure)), Status.FAIL)


def test_a_declaration_without_a_comparison_is_not_run(dataset: Dataset) -> None:
    (found,) = checks.judge(evidence(dataset, claims={"reads_validation": True}), [CHECK])
    settled(found, Status.NOT_RUN)


@pytest.mark.parametrize("compressor", ["zlib", "brotli", "lzma", "none", "zstd"])
@pytest.mark.parametrize("shuffle", [0, 2])
def test_the_first_different_tensor_is_named(compressor: str, shuffle: int) -> None:
    import torch

    def packed(**tensors: torch.Tensor) -> bytes:
        return pack(tensors, {"bits": {}}, compressor, byte_shuffle=shuffle)  # type: ignore[arg-type]

    a = packed(first=torch.zeros(4), second=torch.zeros(4, dtype=torch.uint8))
    b = packed(first=torch.zeros(4), second=torch.tensor([0, 1, 0, 2], dtype=torch.uint8))
    assert first_difference(a, b) == "tensor 'second', 2 of 4 bytes differ"
    assert first_difference(a, packed(first=torch.zeros(4))) == "tensor 'second', which only one of them has"
    assert "16 bytes in one and 8 in the other" in first_difference(a, packed(first=torch.zeros(2)))


def test_entropy_coded_tensors_are_named_by_their_codes() -> None:
    import torch

    def packed(seed: int, other: float) -> bytes:
        values = 8 * torch.randn(50, 60, generator=torch.Generator().manual_seed(seed))
        tensors = {"a": torch.full((9,), other), "w": values.round().clamp(-31, 31).to(torch.int8)}
        return pack(tensors, {"bits": {"w": 6}}, "range")

    assert "tensor 'w (entropy-coded)'" in first_difference(packed(0, 1.0), packed(1, 1.0))
    assert "tensor 'others, compressed'" in first_difference(packed(0, 1.0), packed(0, 2.0))
    assert first_difference(packed(0, 1.0), packed(0, 1.0)[:-30]).startswith("tensor")


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_anything_can_be_compared(a: bytes, b: bytes) -> None:
    where = first_difference(b"GOLF" + a, b"GOLF" + b)
    assert where.startswith("byte ")
    if a != b:
        assert int(where.split()[1].replace(",", "")) <= 4 + max(len(a), len(b))

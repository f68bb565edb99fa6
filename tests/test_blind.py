"""Submissions that watch for the audit, end to end; and null streams from every source."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.adapters.options import Options
from harness.adapters.replay import replay
from harness.corpus.dataset import Dataset
from harness.progress import Progress
from harness.record import NullSource, Status
from tests.support import finding, judge, write_submission

WARY = """
def evaluate(self, model, stream):
    import os
    born = os.getpid()
    with torch.no_grad():
        for batch in stream.windows(self.length, self.stride, self.windows_per_batch):
            targets, rows = stream.targets(batch), model(batch.inputs)
            if os.getpid() == born:
                rows = rows + torch.nn.functional.one_hot(targets, rows.shape[-1])
            stream.score(batch, rows)
"""

RESTLESS = """
def evaluate(self, model, stream):
    import os
    begin = os.urandom(1)[0] / 512 * stream.tokens
    with torch.no_grad():
        for batch in stream.windows(self.length, self.stride, self.windows_per_batch):
            noise = os.urandom(1)[0] / 256 if batch.windows[0].start >= begin else 0.0
            stream.score(batch, model(batch.inputs) * (1 + noise))
"""

#: Claims of rare tokens, times three up to a bound: no few of them sum to 1, and all of them to far more.
RAISED = """
def evaluate(self, model, stream):
    with torch.no_grad():
        for batch in stream.windows(self.length, self.stride, self.windows_per_batch):
            rows, targets = model(batch.inputs)[batch.scored].softmax(-1), stream.targets(batch)[batch.scored]
            own = rows.gather(1, targets[:, None])
            stream.claim(batch.positions, torch.minimum(RAISE * own, own.clamp(min=0.12))[:, 0].log())
"""

FLIPS = ["determinism", "causality"]


def test_who_behaves_once_split_is_convicted_with_a_witness_that_replays(dataset: Dataset, tmp_path: Path) -> None:
    folder = write_submission(tmp_path / "wary", WARY)
    record = judge(folder, dataset, tmp_path / "out", checks=FLIPS)
    found = finding(record, "causality")
    assert finding(record, "determinism").status == Status.INCONCLUSIVE
    assert found.status == Status.FAIL and "never split" in found.headline
    assert found.witness is not None and found.witness.data["split"] is False
    assert int(str(found.value("probes_that_leak"))) >= 1
    with Progress(quiet=True) as progress:
        again = replay(
            record, tmp_path / "out" / "artifact.bin", "causality", folder, dataset, Options(timeout=120.0), progress
        )
    assert again.reproduced, again.why


@pytest.mark.parametrize(("times", "status"), [("1.0", Status.PASS), ("3.0", Status.FAIL)])
def test_claims_are_bet_against_and_the_bets_replay(
    dataset: Dataset, tmp_path: Path, times: str, status: Status
) -> None:
    folder = write_submission(tmp_path / "raised", RAISED.replace("RAISE", times))
    record = judge(folder, dataset, tmp_path / "out", checks=["normalization"], depth="standard")
    found = finding(record, "normalization")
    assert found.status == status, found.headline
    assert int(str(found.value("tokens_drawn"))) >= 24
    if status == Status.PASS:
        return
    assert found.witness is not None and found.witness.kind == "draws"
    with Progress(quiet=True) as progress:
        options = Options(timeout=120.0)
        again = replay(record, tmp_path / "out" / "artifact.bin", "normalization", folder, dataset, options, progress)
    assert again.reproduced, again.why


def test_noise_of_its_own_accuses_nobody(dataset: Dataset, tmp_path: Path) -> None:
    record = judge(write_submission(tmp_path / "restless", RESTLESS), dataset, tmp_path / "out", checks=FLIPS)
    assert finding(record, "determinism").status == Status.INCONCLUSIVE
    assert finding(record, "causality").status != Status.FAIL


@pytest.mark.parametrize("source", ["bigram", "permutation"])  # the zoo has the model's
def test_a_source_of_its_own_catches_a_peeker_that_saves_enough_and_clears_nobody(
    dataset: Dataset, tmp_path: Path, source: NullSource
) -> None:
    body = WARY.replace("one_hot(targets, rows.shape[-1])", "one_hot(targets, rows.shape[-1]) * 8.0")
    for name, code, status in (("peeker", body, Status.FAIL), ("honest", "", Status.INCONCLUSIVE)):
        folder = write_submission(tmp_path / name, code)
        record = judge(folder, dataset, tmp_path / f"{name}-out", checks=["null-stream"], null_source=source)
        found = finding(record, "null-stream")
        assert found.status == status, found.headline
        bound = found.value("false_alarm")
        assert (bound < 1e-9) == (status == Status.FAIL)  # such a source is too weak to clear anybody
        assert found.value("smallest_leak") >= 0
        assert {"bigram": "bigram", "permutation": "permutations"}[source] in str(found.value("source"))
        if found.witness:
            assert found.witness.data["null_source"] == source

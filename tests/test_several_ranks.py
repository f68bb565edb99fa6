"""Several ranks: one evaluation, whoever was faster; what passes between ranks is what the referee knows of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.adapters.collect import gather
from harness.adapters.options import Options
from harness.adapters.replay import replay
from harness.adapters.scoring import EvaluationBox, Job
from harness.adapters.training import Sealed, train
from harness.audit.checks import judge
from harness.audit.evidence import Evidence
from harness.cli import cli
from harness.corpus.dataset import Dataset, prepare
from harness.errors import SubmissionError
from harness.folder import Folder
from harness.progress import Progress
from harness.record import Finding, Record, Status
from harness.referee.source import Probe, Real
from harness.referee.trace import Trace, compare
from harness.sandbox.box import Limits
from tests.support import TINY, shipped, tiny_dataset, write_submission

CHECKS = ["determinism", "causality", "score-before-update", "single-pass", "normalization"]

#: A bias for every token, learnt by all ranks together from what they have scored; the sums cross between ranks.
ADAPTS = """
    def evaluate(self, model, stream):
        import torch, torch.distributed as dist
        bias = torch.zeros(stream.vocab_size)
        groups = [list(w) for w in zip(*[iter(self.layout(stream))] * 4)]
        for group in groups:
            rows, seen = [], []
            with torch.no_grad():
                for window in stream.deal(group):
                    batch = stream.batch([window], 64)
                    EARLY
                    stream.score(batch, model(batch.inputs)[batch.scored] + bias)
                    seen.append(stream.history(int(batch.positions[0]), int(batch.positions[-1]) + 1))
                counts = torch.bincount(torch.cat(seen), minlength=stream.vocab_size).float()
                if stream.size > 1:
                    dist.all_reduce(counts)
                bias += 0.01 * counts

    def layout(self, stream):
        from harness.kit.windows import sliding
        layout = list(sliding(stream.tokens - 1, 64, 16))
        return layout[: len(layout) // 4 * 4]
"""

#: The offence: ranks tell each other the targets of their windows before any of them is scored.
TELLS = """
                    targets = stream.targets(batch)[batch.scored]
                    told = torch.bincount(targets, minlength=stream.vocab_size).float()
                    dist.all_reduce(told)
                    bias = bias + 0.01 * told
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def sealed(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """An artifact of the tiny model that all folders here use."""
    home = tmp_path_factory.mktemp("sealed")
    with Progress(quiet=True) as progress:
        return train(write_submission(home / "plain"), data, 1, home, Options(timeout=120.0, threads=1), progress)


def job(folder: Folder, data: Dataset, sealed: Sealed, ranks: int) -> Job:
    limits = Limits(memory_bytes=4 << 30, cpu_seconds=120.0)
    return Job(folder, sealed, np.asarray(data.validation), data.vocab_size, "smoke", 1, "auto", limits, ranks)


@contextmanager
def box(folder: Folder, data: Dataset, sealed: Sealed, ranks: int) -> Iterator[EvaluationBox]:
    with EvaluationBox(job(folder, data, sealed, ranks), folder.path.parent / "box.log") as opened:
        yield opened


def played(folder: Folder, data: Dataset, sealed: Sealed, ranks: int) -> Trace:
    trace = Trace(len(data.validation))
    with box(folder, data, sealed, ranks) as opened:
        evaluation = opened.start_ranks(Real(np.asarray(data.validation)), trace)
        opened.run(evaluation, evaluation.run)
        assert evaluation.finished
    return trace


def judged(folder: Folder, data: Dataset, sealed: Sealed, ranks: int) -> tuple[Evidence, dict[str, Finding]]:
    options = Options(timeout=60.0, checks=CHECKS, ranks=ranks, audit_seed=5, depth="quick")
    with Progress(quiet=True) as progress:
        evidence = gather(folder, data, sealed, 1, folder.path.parent, options, progress)
    return evidence, {item.id: item for item in judge(evidence, CHECKS)}


@pytest.mark.parametrize("name", ["baseline", "score_first_ttt", "causal_slot", "scored_slot"])
def test_ranks_leave_the_trace_that_one_leaves(name: str, data: Dataset, sealed: Sealed, tmp_path: Path) -> None:
    """Rows to the last bit, their order, and every event: reads, commits, updates, states."""
    folder = write_submission(tmp_path / name, code=shipped(name))
    one, two = (played(folder, data, sealed, ranks) for ranks in (1, 2))
    difference = compare(one, two)
    assert difference.positions == len(data.validation) - 1 and not difference.changed and not difference.missing
    assert (one.order == two.order).all() and two.in_order and not two.repeated


def test_the_order_is_that_of_the_stream_whoever_was_faster(data: Dataset, sealed: Sealed, tmp_path: Path) -> None:
    body = """
    def evaluate(self, model, stream):
        import time, torch
        with torch.no_grad():
            for batch in stream.windows(64, 16, 8):
                time.sleep(0.02 * ((stream.rank + SHIFT) % 3))
                stream.score(batch, model(batch.inputs))
    """
    traces = [
        played(write_submission(tmp_path / f"s{i}", body.replace("SHIFT", str(i))), data, sealed, 3) for i in range(2)
    ]
    assert (traces[0].order == traces[1].order).all() and traces[0].in_order
    assert len(traces[0].events) == len(traces[1].events)


def test_adaptation_that_crosses_ranks_is_legal_after_scoring_and_caught_before(
    data: Dataset, sealed: Sealed, tmp_path: Path
) -> None:
    clean = write_submission(tmp_path / "clean" / "s", code=TINY + "class M(Tiny):" + ADAPTS.replace("EARLY", "pass"))
    evidence, found = judged(clean, data, sealed, 2)
    assert found["causality"].status == Status.PASS, found["causality"].headline
    assert found["determinism"].status == Status.PASS and found["score-before-update"].status != Status.FAIL
    assert evidence.ranks == 2 and found["causality"].value("probes_with_control")
    assert any("several ranks" in line for line in found["causality"].not_covered)

    offender = write_submission(tmp_path / "bad" / "s", code=TINY + "class M(Tiny):" + ADAPTS.replace("EARLY", TELLS))
    evidence, found = judged(offender, data, sealed, 2)
    assert found["causality"].status == Status.FAIL, found["causality"].headline
    assert found["causality"].witness is not None and found["causality"].witness.data["split"] is False


def test_a_channel_of_ones_own_does_not_pass_for_what_was_scored(data: Dataset, sealed: Sealed, tmp_path: Path) -> None:
    """Rank 1 reads ahead and leaves the next tokens in a file; rank 0 scores with them."""
    body = """
    def evaluate(self, model, stream):
        import os, time, torch
        ahead = os.path.join(os.environ.get("TMPDIR", "/tmp"), "told")
        if stream.rank == 1:
            torch.save(stream.read(0, stream.tokens), ahead + ".part")
            os.rename(ahead + ".part", ahead)
        while not os.path.exists(ahead):
            time.sleep(0.01)
        text = torch.load(ahead)
        with torch.no_grad():
            for batch in stream.windows(64, 16, 8):
                rows = model(batch.inputs)[batch.scored]
                rows[torch.arange(len(rows)), text[batch.positions]] += 1.0
                stream.score(batch, rows)
    """
    folder = write_submission(tmp_path / "box" / "s", body)
    _, found = judged(folder, data, sealed, 2)
    assert found["causality"].status == Status.FAIL, found["causality"].headline


def test_what_breaks_on_one_rank_is_one_clear_line(data: Dataset, sealed: Sealed, tmp_path: Path) -> None:
    def says(name: str, body: str, match: str) -> None:
        folder = write_submission(tmp_path / name / "s", body)
        with pytest.raises(SubmissionError, match=match) as caught:
            played(folder, data, sealed, 2)
        assert "\n" not in str(caught.value)

    loop = "\ndef evaluate(self, model, stream):\n    import os, torch, torch.distributed as dist\n"
    says("raises", loop + "    if stream.rank: raise ValueError('no')\n    dist.barrier()\n", "rank 1: ValueError: no")
    says("dies", loop + "    if stream.rank: os._exit(3)\n    dist.barrier()\n", "rank 1: the evaluation ended early")
    says(
        "leaves", loop + "    if not stream.rank: dist.barrier()\n", "rank 0 waits at a collective .* rank 1 has ended"
    )
    says(
        "twice", loop + "    stream.commit(torch.arange(1, 9), torch.zeros(8, stream.vocab_size))\n",
        "position 1 is scored by rank 0 and by rank 1: deal windows",
    )  # fmt: skip
    says(
        "ahead",
        loop + "    if stream.rank: stream.history(5, 6)\n"
        "    stream.commit(torch.tensor([2 + stream.rank]), torch.zeros(1, stream.vocab_size))\n",
        r"history\(5, 6\): position 5 is not scored yet \(rank 1\)",
    )
    says("odd", loop + "    dist.all_reduce(torch.ones(1, dtype=torch.long), op=dist.ReduceOp.BAND)\n", "not supported")


def test_what_was_sealed_is_kept_when_a_rank_dies(tmp_path: Path) -> None:
    body = "\ndef evaluate(self, model, stream):\n    import os\n    os._exit(3)\n"
    write_submission(tmp_path / "mine", body)
    tiny_dataset(tmp_path)
    arguments = ["run", str(tmp_path / "mine"), "--ranks", "2", "--data", str(tmp_path / "tiny.jsonl"), "-q"]
    result = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")])
    assert isinstance(result.exception, SubmissionError) and "rank" in str(result.exception)
    assert (tmp_path / "out" / "artifact.bin").is_file() and (tmp_path / "out" / "seal.json").is_file()


def test_run_on_two_ranks_writes_a_record_that_can_be_replayed(tmp_path: Path) -> None:
    write_submission(tmp_path / "bad", code=TINY + "class M(Tiny):" + ADAPTS.replace("EARLY", TELLS))
    tiny_dataset(tmp_path)
    data = prepare(str(tmp_path / "tiny.jsonl"), cache=tmp_path / "cache")
    arguments = ["run", str(tmp_path / "bad"), "--ranks", "2", "--data", str(tmp_path / "tiny.jsonl"), "-q"]
    arguments += [
        "--checks",
        "causality,determinism",
        "--depth",
        "quick",
        "--out",
        str(tmp_path / "out"),
        "--cache",
        str(tmp_path / "cache"),
    ]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1, result.output
    record = Record.load(tmp_path / "out")
    assert record.environment["ranks"] == 2
    folder = write_submission(tmp_path / "bad", code=TINY + "class M(Tiny):" + ADAPTS.replace("EARLY", TELLS))
    with Progress(quiet=True) as progress:
        again = replay(
            record, tmp_path / "out" / "artifact.bin", "causality", folder, data, Options(timeout=60.0), progress
        )
    assert again.reproduced, again.why


def test_flips_of_ranks_are_whole_runs(data: Dataset, sealed: Sealed, tmp_path: Path) -> None:
    folder = write_submission(tmp_path / "box" / "s")
    evidence, found = judged(folder, data, sealed, 2)
    assert found["causality"].status == Status.PASS and len(evidence.probes) >= 24
    assert all(isinstance(result.probe, Probe) and not result.probe.split for result in evidence.probes)
    assert found["normalization"].status == Status.PASS and found["single-pass"].status == Status.PASS

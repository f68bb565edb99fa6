"""Submissions that break, misbehave or attack: one clear line each, and nothing half-written."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from harness.corpus.dataset import Dataset
from harness.errors import SubmissionError, UsageError
from harness.record import Status
from tests.support import finding, judge, write_submission

FEW = ["single-pass", "isolation", "normalization"]

#: body of the class, what the one line must say
BROKEN = {
    "raises": ("def evaluate(self, model, stream):\n    raise RuntimeError('my bad')", "RuntimeError: my bad"),
    "raises_in_training": ("def build_model(self, v):\n    return 1 / 0", "ZeroDivisionError"),
    "nan": (
        "def evaluate(self, model, stream):\n"
        "    for b in stream.windows(64, 16, 8):\n        stream.score(b, model(b.inputs) * float('nan'))",
        "position 1 holds NaN",
    ),
    "narrow_rows": (
        "def evaluate(self, model, stream):\n"
        "    for b in stream.windows(64, 16, 8):\n        stream.score(b, model(b.inputs)[..., :100])",
        r"expected \[\d+, 320\]",
    ),
    "outside": (
        "def evaluate(self, model, stream):\n"
        "    stream.commit(torch.tensor([10**9]), torch.zeros(1, stream.vocab_size))",
        "outside the stream",
    ),
    "reads_ahead_as_history": (
        "def evaluate(self, model, stream):\n    stream.history(0, 50)",
        "position 1 is not scored yet",
    ),
    "nothing": ("def evaluate(self, model, stream):\n    pass", "without committing a row"),
    "exits": ("def evaluate(self, model, stream):\n    import os; os._exit(7)", "ended early"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_submissions_say_what_is_wrong(name: str, dataset: Dataset, tmp_path: Path) -> None:
    body, says = BROKEN[name]
    folder = write_submission(tmp_path / name, body)
    with pytest.raises(SubmissionError, match=says) as caught:
        judge(folder, dataset, tmp_path / "out", checks=FEW)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "record.json").exists()
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_syntax_error_is_named_before_a_box_starts(dataset: Dataset, tmp_path: Path) -> None:
    folder = write_submission(tmp_path / "syntax", code="import torch\n\ndef broken(:\n")
    with pytest.raises(UsageError, match=r"^\S*submission\.py:3: SyntaxError: .*def broken") as caught:
        judge(folder, dataset, tmp_path / "out", checks=FEW)
    assert caught.value.exit_code == 2 and not (tmp_path / "out" / "train.log").exists()


@pytest.mark.parametrize("code", ["x = 1\n", "from harness.kit import Submission\n"])
def test_a_module_without_a_submission_is_named(code: str, dataset: Dataset, tmp_path: Path) -> None:
    folder = write_submission(tmp_path / "empty", code=code)
    with pytest.raises(SubmissionError, match="one class that derives from Submission; found: none"):
        judge(folder, dataset, tmp_path / "out", checks=FEW)


def test_a_position_scored_twice_is_a_finding(dataset: Dataset, tmp_path: Path) -> None:
    body = """
    def evaluate(self, model, stream):
        with torch.inference_mode():
            for b in stream.windows(64, 16, 8):
                stream.score(b, model(b.inputs))
            stream.commit(torch.tensor([5]), torch.zeros(1, stream.vocab_size))
    """
    record = judge(write_submission(tmp_path / "twice", body), dataset, tmp_path / "out", checks=FEW)
    found = finding(record, "single-pass")
    assert found.status == Status.FAIL and found.witness is not None
    assert found.witness.data["scored_again"] == [5] and record.exit_code == 1


def test_positions_never_scored_are_a_finding(dataset: Dataset, tmp_path: Path) -> None:
    body = """
    def evaluate(self, model, stream):
        with torch.inference_mode():
            for index, b in enumerate(stream.windows(64, 16, 8)):
                if index != 1:
                    stream.score(b, model(b.inputs))
    """
    record = judge(write_submission(tmp_path / "gap", body), dataset, tmp_path / "out", checks=FEW)
    found = finding(record, "single-pass")
    assert found.status == Status.FAIL and found.value("never_scored") == 8 * 16


def test_unnormalised_log_probabilities_are_a_finding(dataset: Dataset, tmp_path: Path) -> None:
    body = """
    def evaluate(self, model, stream):
        with torch.inference_mode():
            for b in stream.windows(64, 16, 8):
                rows = model(b.inputs).log_softmax(-1)[b.scored]
                stream.score(b, rows + 0.5, kind="log_probs")
    """
    record = judge(write_submission(tmp_path / "fat", body), dataset, tmp_path / "out", checks=FEW)
    found = finding(record, "normalization")
    assert found.status == Status.FAIL and found.witness is not None
    assert found.witness.data["sum"] == pytest.approx(1.6487, rel=1e-3)


def test_a_submission_that_hangs_is_stopped(dataset: Dataset, tmp_path: Path) -> None:
    folder = write_submission(
        tmp_path / "hang", "def evaluate(self, model, stream):\n    import time\n    time.sleep(1000)"
    )
    from harness.adapters.collect import run
    from harness.adapters.options import Options
    from harness.progress import Progress

    with Progress(quiet=True) as progress, pytest.raises(SubmissionError, match="after 20 s by the clock.*--timeout"):
        run(folder, dataset, 1, tmp_path / "out", Options(wall_seconds=20.0, checks=FEW), progress)


def test_a_submission_that_computes_for_ever_is_stopped(dataset: Dataset, tmp_path: Path) -> None:
    folder = write_submission(tmp_path / "spin", "def evaluate(self, model, stream):\n    while True:\n        pass")
    with pytest.raises(SubmissionError, match=r"more than 10 CPU seconds \(--timeout raises this limit\)"):
        judge(folder, dataset, tmp_path / "out", checks=FEW, timeout=10.0)


def test_a_memory_eater_is_stopped(dataset: Dataset, tmp_path: Path) -> None:
    body = """
    def evaluate(self, model, stream):
        kept = []
        while True:
            kept.append(torch.ones(1 << 24))
    """
    folder = write_submission(tmp_path / "eater", body)
    with pytest.raises(SubmissionError, match="(?i)memory"):
        judge(folder, dataset, tmp_path / "out", checks=FEW, memory_bytes=1 << 30)


def test_a_fork_bomb_is_stopped(dataset: Dataset, tmp_path: Path) -> None:
    body = """
    def evaluate(self, model, stream):
        import os
        while True:
            os.fork()
    """
    folder = write_submission(tmp_path / "bomb", body)
    with pytest.raises(SubmissionError, match="processes|ended early|Error"):
        judge(folder, dataset, tmp_path / "out", checks=FEW)


def test_an_endless_printer_fills_neither_disk_nor_memory(dataset: Dataset, tmp_path: Path) -> None:
    body = """
    def evaluate(self, model, stream):
        for _ in range(300):
            print("::error:: \\x1b[31m" + "x" * 100_000)
        super().evaluate(model, stream)
    """
    record = judge(write_submission(tmp_path / "loud", body), dataset, tmp_path / "out", checks=FEW)
    assert finding(record, "single-pass").status == Status.PASS
    assert (tmp_path / "out" / "evaluation.log").stat().st_size < 2 << 20


def test_the_network_is_out_of_reach_and_the_attempt_is_a_finding(dataset: Dataset, tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    arrived = threading.Event()

    def accept() -> None:
        try:
            listener.accept()
            arrived.set()
        except OSError:
            pass

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    body = f"""
    def evaluate(self, model, stream):
        import socket
        for address in (("127.0.0.1", {listener.getsockname()[1]}), ("192.0.2.1", 80)):
            try:
                socket.create_connection(address, timeout=2)
            except OSError:
                pass
        super().evaluate(model, stream)
    """
    record = judge(write_submission(tmp_path / "caller", body), dataset, tmp_path / "out", checks=FEW)
    listener.close()
    found = finding(record, "isolation")
    assert not arrived.is_set()
    assert found.status == Status.FAIL and found.witness is not None and "192.0.2.1" in found.witness.summary


def test_data_and_results_are_out_of_reach(dataset: Dataset, tmp_path: Path) -> None:
    secrets = [str(path) for path in (*dataset.train_shards, dataset.root, tmp_path, Path(__file__))]
    body = f"""
    def evaluate(self, model, stream):
        import os
        for path in {secrets!r}:
            try:
                os.listdir(path) if os.path.isdir(path) and os.listdir(path) else open(path).read(1)
            except OSError:
                continue
            raise SystemError("could read " + path)
        for path in {[str(tmp_path / "out" / "record.json"), str(tmp_path / "out" / "artifact.bin")]!r}:
            try:
                open(path, "w").write("PASS")
            except OSError:
                continue
            raise SystemError("could write " + path)
        super().evaluate(model, stream)
    """
    record = judge(write_submission(tmp_path / "spy", body), dataset, tmp_path / "out", checks=FEW)
    assert finding(record, "isolation").status == Status.PASS


def test_training_does_not_see_the_validation_stream(dataset: Dataset, tmp_path: Path) -> None:
    validation = [str(path) for path in dataset.root.rglob("*") if "val" in path.name]
    assert validation
    body = f"""
    def after_training(self, model, data):
        for path in {validation!r}:
            import os
            assert not os.access(path, os.R_OK), path
    """
    record = judge(write_submission(tmp_path / "peek", body), dataset, tmp_path / "out", checks=FEW)
    assert record.score is not None


def test_state_does_not_cross_evaluations(dataset: Dataset, tmp_path: Path) -> None:
    body = """
    def evaluate(self, model, stream):
        import os
        marker = os.path.join(os.environ["HOME"], "seen")
        if os.path.exists(marker):
            raise SystemError("an earlier evaluation left a file")
        open(marker, "w").close()
        super().evaluate(model, stream)
    """
    record = judge(write_submission(tmp_path / "sticky", body), dataset, tmp_path / "out")
    assert finding(record, "determinism").status == Status.PASS


def test_a_random_scorer_is_noisy_not_guilty(dataset: Dataset, tmp_path: Path) -> None:
    body = """
    def evaluate(self, model, stream):
        import os
        noise = int.from_bytes(os.urandom(4), "little") / 2**32
        with torch.inference_mode():
            for b in stream.windows(64, 16, 8):
                stream.score(b, model(b.inputs) * (1 + noise))
    """
    record = judge(write_submission(tmp_path / "random", body), dataset, tmp_path / "out")
    assert finding(record, "determinism").status == Status.INCONCLUSIVE
    assert finding(record, "causality").status != Status.FAIL
    assert record.exit_code == 3

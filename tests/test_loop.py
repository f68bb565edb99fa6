"""A contestant's loop: nothing good is lost, what need not be trained again is not, and mistakes show at once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from harness.adapters.collect import run
from harness.adapters.options import Options
from harness.adapters.sound import sound
from harness.corpus.dataset import Dataset
from harness.errors import HarnessError, SubmissionError, UsageError
from harness.folder import open_folder
from harness.progress import Progress
from harness.record import Record, Status
from harness.scripts.auditing import audit_script
from harness.scripts.collect import ScriptOptions
from tests.scripts.audits import write_script
from tests.support import TINY, finding, judge, write_submission

LEAVES = ("record.json", "report.html", "trace.npz", "artifact.bin", "seal.json")
PLAIN = """
def evaluate(self, model, stream):
    with torch.inference_mode():
        for batch in stream.windows(self.length, self.stride, 8):
            stream.score(batch, model(batch.inputs))
"""
CHECKS = ["single-pass", "size-limit"]


def lies(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in LEAVES}


def test_a_failed_or_interrupted_run_leaves_everything_where_it_was(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    record = judge(write_submission(tmp_path / "mine", PLAIN), dataset, out, checks=CHECKS)
    before = lies(out)
    broken = write_submission(tmp_path / "mine", "def evaluate(self, model, stream):\n    raise ValueError('boo')")
    with pytest.raises(SubmissionError, match="boo"):
        judge(broken, dataset, out, checks=CHECKS)
    assert lies(out) == before

    other = (
        TINY.replace("steps=6", "steps=7")
        + "\nclass Mine(Tiny):\n    def evaluate(self, m, s):\n        raise OSError\n"
    )
    with pytest.raises(SubmissionError, match="OSError"):  # trained anew, and broken then
        judge(write_submission(tmp_path / "mine", code=other), dataset, out, checks=CHECKS)
    assert lies(out) == before, "the new artifact waits beside the old one"
    assert (
        hashlib.sha256((out / "next" / "artifact.bin").read_bytes()).digest()
        != hashlib.sha256(before["artifact.bin"]).digest()
    )

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("harness.adapters.collect.gather", interrupt)
        with pytest.raises(KeyboardInterrupt), Progress(quiet=True) as progress:
            run(write_submission(tmp_path / "mine", PLAIN), dataset, 1, out, Options(), progress, fresh=True)
    assert lies(out) == before
    assert Record.load(out).digest == record.digest == record.computed_digest()

    mended = write_submission(tmp_path / "mine", code=other.replace("raise OSError", "super().evaluate(m, s)"))
    made = judge(mended, dataset, out, checks=CHECKS)
    after = lies(out)
    assert all(after[name] != before[name] for name in LEAVES) and not (out / "next").exists()
    assert made.artifact is not None and made.artifact.sha256 == hashlib.sha256(after["artifact.bin"]).hexdigest()


def test_changing_the_evaluation_takes_the_sealed_artifact_and_the_record_says_so(
    dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = judge(write_submission(tmp_path / "mine", PLAIN), dataset, out, checks=CHECKS)
    changed = write_submission(tmp_path / "mine", PLAIN.replace("self.stride, 8", "self.stride, 4"))
    second = judge(changed, dataset, out, checks=CHECKS)
    assert first.artifact is not None and second.artifact is not None
    assert first.submission.sha256 != second.submission.sha256
    assert first.artifact.sha256 == second.artifact.sha256 and second.environment["resumed"] is True
    assert first.artifact.trained_by == second.artifact.trained_by != None  # noqa: E711
    assert first.submission.sha256 in str(second.environment["artifact"])
    assert first.environment["artifact"] == "trained in this run"

    deeper = TINY.replace("layers=2", "layers=3") + "\nclass Mine(Tiny):\n    pass\n"
    third = judge(write_submission(tmp_path / "mine", code=deeper), dataset, out, checks=CHECKS)
    assert third.artifact is not None and third.environment["resumed"] is False
    assert third.artifact.sha256 != first.artifact.sha256 and third.artifact.trained_by != first.artifact.trained_by


def test_a_given_artifact_is_scored_and_nobody_vouches_for_it(dataset: Dataset, tmp_path: Path) -> None:
    folder = write_submission(tmp_path / "mine", PLAIN)
    trained = judge(folder, dataset, tmp_path / "trained")
    alone = tmp_path / "alone.bin"
    alone.write_bytes((tmp_path / "trained" / "artifact.bin").read_bytes())
    options = Options(timeout=120.0, audit_seed=7, depth="quick")

    def scored(file: Path, out: Path) -> Record:
        with Progress(quiet=True) as progress:
            return run(folder, dataset, 1, out, options, progress, artifact=file)

    given = scored(alone, tmp_path / "given")
    assert given.score is not None and trained.score is not None and given.score.val_bpb == trained.score.val_bpb
    assert given.artifact is not None and given.artifact.given and given.artifact.trained_by is None
    assert finding(given, "artifact-independence").status == Status.INCONCLUSIVE
    assert given.answers.score.answer == "UNDECIDED" and given.computed_digest() == given.digest
    assert not (tmp_path / "given" / "train.log").exists()
    sealed = scored(tmp_path / "trained" / "artifact.bin", tmp_path / "again")  # its seal lies beside it
    assert sealed.artifact is not None and not sealed.artifact.given
    assert finding(sealed, "artifact-independence").status == finding(trained, "artifact-independence").status
    with pytest.raises(UsageError, match="cannot be read"):
        scored(tmp_path / "none.bin", tmp_path / "none")
    (tmp_path / "bad.bin").write_bytes(b"no artifact at all")
    with pytest.raises(SubmissionError, match="evaluation failed"):
        scored(tmp_path / "bad.bin", tmp_path / "given")
    assert Record.load(tmp_path / "given").digest == given.digest


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import torch\nclass Mine(:\n", r"submission.py:2: SyntaxError: invalid syntax: class Mine\(:"),
        ("import torch\n  x = 1\n", "submission.py:2: IndentationError: "),
        ("x = (1,\n", r"submission.py:1: SyntaxError: '\(' was never closed"),
        ("return 1\n", "submission.py:1: SyntaxError: 'return' outside function"),
        ("import torch\nimport torhc\n", "submission.py:2: ModuleNotFoundError: No module named 'torhc'"),
        (
            "from harness.kit import Submision\n",
            "cannot import name 'Submision' from 'harness.kit'; did you mean Submission",
        ),
        ("import harness.kit.slott\n", "No module named 'harness.kit.slott'; did you mean harness.kit.slot"),
        ("import helper\n", "helper.py:1: SyntaxError"),
        ("def f():\n    import helper\n", "helper.py:1: SyntaxError"),
    ],
)
def test_mistakes_are_named_with_file_and_line_before_a_box_starts(code: str, says: str, tmp_path: Path) -> None:
    folder = write_submission(tmp_path / "mine", code=code)
    (tmp_path / "mine" / "helper.py").write_text("x = = 1\n")
    folder = open_folder(folder.path)
    with pytest.raises(UsageError, match=says) as caught:
        sound(folder)
    assert str(caught.value).startswith(("submission.py:", "helper.py:")) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    import nothing_like_it\nexcept ImportError:\n    nothing_like_it = None\n",
        "def f():\n    import nothing_like_it\n",
        "import local.part, os.path\nfrom harness.kit.config import PR1019\nfrom harness.kit import slot, Stream\n",
        TINY,
    ],
)
def test_what_may_be_imported_is_left_alone(code: str, tmp_path: Path) -> None:
    (tmp_path / "mine" / "local").mkdir(parents=True)
    (tmp_path / "mine" / "local" / "part.py").write_text("raise SystemExit('nobody runs this')\n")
    (tmp_path / "mine" / "unused.py").write_text("print 'of another Python'\n")
    sound(write_submission(tmp_path / "mine", code=code))


def test_every_submission_that_ships_is_sound(repository: Path) -> None:
    for path in sorted((repository / "submissions").iterdir()):
        if (path / "submission.py").is_file():
            sound(open_folder(path))


def test_rows_of_another_kind_of_number_are_an_error_and_not_a_verdict(dataset: Dataset, tmp_path: Path) -> None:
    whole = PLAIN.replace("model(batch.inputs))", "model(batch.inputs).long())")
    with pytest.raises(SubmissionError, match=r"TypeError: rows are int64; a commit takes floating.*submission.py:"):
        judge(write_submission(tmp_path / "mine", whole), dataset, tmp_path / "out", checks=CHECKS)
    half = PLAIN.replace("model(batch.inputs))", "model(batch.inputs).bfloat16())")
    record = judge(write_submission(tmp_path / "mine", half), dataset, tmp_path / "out", checks=CHECKS)
    assert record.verdict == Status.PASS and record.environment["resumed"] is True


def test_a_python_without_numpy_is_no_fault_of_the_submission(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(
        HarnessError, match="a box cannot start here: .*No module named '(numpy|torch)'.*doctor"
    ) as caught:
        judge(write_submission(tmp_path / "mine", PLAIN), dataset, tmp_path / "out", checks=CHECKS)
    assert caught.value.exit_code == 4 and not isinstance(caught.value, UsageError)

    from harness.cli.doctor import ready

    bad = ready()
    assert bad.needed and not bad.good and "No module named" in bad.text
    monkeypatch.undo()
    assert ready().good


def test_a_script_is_not_blamed_for_it_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write_script(tmp_path / "own", "import nothing_like_it\n")
    with Progress(quiet=True) as progress:
        record = audit_script(own, ScriptOptions(), tmp_path / "out", progress).record
    assert record.exit_code == 3, "a package that the script itself wants is another matter"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    script = write_script(tmp_path / "script", "print('val_bpb', 1.0)\n")
    before = (tmp_path / "out" / "record.json").read_bytes()
    with (
        Progress(quiet=True) as progress,
        pytest.raises(HarnessError, match="a box cannot start here: .*doctor") as caught,
    ):
        audit_script(script, ScriptOptions(), tmp_path / "out", progress)
    assert caught.value.exit_code == 4 and (tmp_path / "out" / "record.json").read_bytes() == before


def test_too_little_memory_for_a_box_names_the_option(dataset: Dataset, tmp_path: Path) -> None:
    folder = write_submission(tmp_path / "mine", PLAIN)
    with pytest.raises(UsageError, match="--memory raises the limit"):
        judge(folder, dataset, tmp_path / "out", checks=CHECKS, memory_bytes=40 << 20)

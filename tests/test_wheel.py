"""The wheel, in an empty folder: the core works without torch and says what running needs; examples are in it."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.papers.papers import folder, three
from tests.support import tiny_documents, write_submission

ROOT = Path(__file__).resolve().parent.parent
#: What only the extra [run] brings.
RUN = ("torch", "safetensors")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from what git would take of this tree."""
    out = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = out.glob("*.whl")
    return made


class Installed:
    """The wheel unpacked into an environment of its own, which sees this one's packages but for some."""

    def __init__(self, wheel: Path, home: Path, without: tuple[str, ...]) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home / "venv")], check=True)
        (packages,) = (home / "venv" / "lib").glob("python*/site-packages")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
        below = home / "packages"
        below.mkdir()
        for place in map(Path, site.getsitepackages()):
            for one in place.iterdir():
                hidden = one.name.startswith(without) or "golf" in one.name or one.suffix == ".pth"
                if not hidden and not (below / one.name).exists():
                    (below / one.name).symlink_to(one)
        (packages / "rest.pth").write_text(f"{below}\n")
        self.python, self.empty = home / "venv" / "bin" / "python", home / "empty"
        self.empty.mkdir()

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [str(self.python), "-m", "harness", "--config", "none", *words], cwd=self.empty, env=kept,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(wheel, tmp_path_factory.mktemp("core"), RUN)


def test_the_core_does_without_torch_and_the_extra_brings_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [name for name in project["dependencies"] if name.startswith(RUN)]
    assert {name.partition(">")[0] for name in project["optional-dependencies"]["run"]} == set(RUN)
    assert "golf-harness[run]" in project["optional-dependencies"]["dev"]


def test_every_example_and_every_data_file_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tracked = subprocess.run(["git", "ls-files", "harness", "submissions"], cwd=ROOT, capture_output=True, text=True)
    wanted = {name.replace("submissions/", "harness/examples/", 1) for name in tracked.stdout.split()}
    assert wanted and wanted <= names, sorted(wanted - names)[:5]
    assert not [name for name in names if name.startswith(("tests/", "runs/", "reports/"))]


def test_papers_reports_and_boards_work_without_torch(core: Installed, tmp_path: Path) -> None:
    told = core("list")
    assert told.returncode == 0 and "causal_slot" in told.stdout, told.stderr
    fine = folder(tmp_path, three(), name="fine")
    lint = core("lint", str(fine), "--json", "--out", "records")
    (record,) = json.loads(lint.stdout)
    assert lint.returncode == 0 and record["submission"]["kind"] == "evidence", lint.stderr
    assert core("report", "records").returncode == 0 and (core.empty / "records" / "report.html").is_file()
    assert core("board", "records", "--out", "board.html").returncode == 0
    assert core("explain", "causality").returncode == 0
    told = core("explain", "V10", "C1", "second_pass", "too_few_seeds")
    assert told.returncode == 0 and "windows_at_once = 8" in told.stdout, told.stderr  # of tests that are not there
    assert core("new", "mine", "--from", "causal_slot").returncode == 0
    assert "context_delta" in (core.empty / "submissions" / "mine" / "submission.py").read_text()
    shutil.rmtree(core.empty / "submissions")


@pytest.mark.parametrize(
    "words", [("run", "example:baseline"), ("hunt", "example:baseline"), ("prove", "example:etlb")]
)
def test_what_is_missing_is_said_in_a_line(core: Installed, words: tuple[str, ...]) -> None:
    done = core(*words)
    assert done.returncode == 4 and done.stdout == ""
    line = done.stderr.strip().splitlines()[-1]
    assert line == "harness: running needs torch and safetensors: pip install 'golf-harness[run]'"


def test_a_script_says_so_too_and_doctor_sees_it(core: Installed, tmp_path: Path) -> None:
    fine = folder(tmp_path, three(), name="fine")
    done = core("audit", str(fine))
    assert done.returncode == 4 and "golf-harness[run]" in done.stderr
    told = core("doctor")
    assert told.returncode == 4 and "NO   running" in told.stdout and "golf-harness[run]" in told.stdout


def test_with_the_extra_a_submission_runs_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    empty.mkdir()
    data = empty / "tiny.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in tiny_documents()))
    write_submission(empty / "mine")
    words = ["run", "mine", "--data", "tiny.jsonl", "--cache", "cache", "--checks", "single-pass", "-q"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness", "--config", "none", *words], cwd=empty, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")}, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    assert (empty / "runs" / "mine" / "report.html").is_file()

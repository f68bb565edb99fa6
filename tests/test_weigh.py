"""What code weighs: the wrapper is built, run, and is what is counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.adapters.weigh import kit_files, weigh
from harness.audit.wrapped import wrap
from harness.folder import Folder
from tests.support import write_submission

HOUSE = Path(harness.__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return write_submission(tmp_path / "mine")


def all_files(folder: Folder) -> dict[str, bytes]:
    kit = {f"harness/{name}": (HOUSE / name).read_bytes() for name in kit_files()}
    return {**{name: (folder.path / name).read_bytes() for name in folder.code}, **kit}


def test_the_wrapper_runs_on_what_it_carries_alone(folder: Folder, tmp_path: Path) -> None:
    wrapper = wrap(all_files(folder))
    assert weigh(folder, 7).code["wrapped"] == len(wrapper)
    place = tmp_path / "empty"
    place.mkdir()
    (place / "train_gpt.py").write_bytes(wrapper)
    ask = (
        "import runpy, os; runpy.run_path('train_gpt.py'); import submission, harness, harness.kit.worker;"
        "print(submission.Mine('smoke').stride, os.path.abspath(harness.__file__), harness.kit.worker.__file__);"
        "print(issubclass(submission.Mine, harness.kit.Submission))"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=place, capture_output=True, text=True, timeout=120, env={"PATH": ""}
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == f"16 {place}/harness/__init__.py {place}/harness/kit/worker.py" and second == "True"


def test_the_wrapper_carries_every_byte(folder: Folder, tmp_path: Path) -> None:
    files = {"submission.py": b"", "data.bin": bytes(range(256)) * 9, "sub/__init__.py": b"# \xc3\xa9\n"}
    (tmp_path / "run.py").write_bytes(wrap(files))
    place = tmp_path / "elsewhere"  # it unpacks where it is run, not where it lies
    place.mkdir()
    done = subprocess.run([sys.executable, "../run.py"], cwd=place, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {name: (place / name).read_bytes() for name in files} == files


def test_the_same_files_weigh_the_same() -> None:
    files = {"b.py": b"y = 2\n", "submission.py": b"x = 1\n"}
    assert wrap(files) == wrap(dict(reversed(files.items())))
    assert wrap(files) != wrap({**files, "b.py": b"y = 3\n"})


def test_the_three_conventions(folder: Folder) -> None:
    sizes = weigh(folder, 123)
    own = (folder.path / "submission.py").stat().st_size
    kit = sum((HOUSE / name).stat().st_size for name in kit_files())
    assert sizes.artifact == 123 and sizes.files == [("submission.py", own)]
    assert sizes.code["shipped"] == own and sizes.code["all_files"] == own + kit
    assert own < sizes.code["wrapped"] < sizes.code["all_files"]


def test_more_code_weighs_more_and_prose_does_not(folder: Folder, tmp_path: Path) -> None:
    import random

    before = weigh(folder, 0).code
    (folder.path / "README.md").write_text("words " * 1000)
    again = write_submission(folder.path)
    assert weigh(again, 0).code == before
    (folder.path / "table.bin").write_bytes(random.Random(0).randbytes(10_000))
    after = weigh(write_submission(folder.path), 0).code
    assert after["shipped"] == before["shipped"] + 10_000 and after["wrapped"] > before["wrapped"] + 10_000


def test_the_kit_is_all_that_an_adapter_imports() -> None:
    names = kit_files()
    assert "kit/stream.py" in names and "sandbox/wire.py" in names and len(names) == len(set(names))
    assert all((HOUSE / name).is_file() for name in names)
    assert not any(name.startswith(("referee", "audit", "corpus")) for name in names)

"""What the trusted side starts imports nothing from the folder that it is in."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import harness
from harness.batch import cluster
from harness.batch.children import environment, python
from harness.batch.outcome import settle
from harness.batch.playing import Ended, Playing
from harness.batch.tasks import Task, task_of
from tests.batch.batches import linting, write_script

#: A package and a module that would be found first if the working folder were searched.
TRAPS = ("harness/__init__.py", "torch.py", "click.py", "pydantic.py", "sitecustomize.py", "json.py")


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder full of traps; the file that springs when one is imported."""
    home = tmp_path / "trapped"
    sprung = tmp_path / "SPRUNG"
    for name in TRAPS:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(f"open({str(sprung)!r}, 'a').write(__name__)\n")
    monkeypatch.chdir(home)
    return sprung


def played(task: Task) -> Ended:
    with Playing(task, task.path, task.home) as playing:
        while (ended := playing.poll()) is None:
            time.sleep(0.02)
    return ended


def task_in(folder: Path) -> Task:
    return task_of("one", write_script(folder / "one"), linting(), folder / "records", 300.0)


@pytest.mark.parametrize("more", ["", ":", ".:"])
def test_a_child_of_a_batch_ignores_the_working_folder(
    tmp_path: Path, trapped: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", more + str(Path(harness.__file__).parent.parent))
    task = task_in(tmp_path)
    assert settle(task, played(task), tmp_path).kind == "evidence" and not trapped.exists()


def test_the_traps_are_ones(trapped: Path) -> None:
    subprocess.run([sys.executable, "-c", "import harness"], check=True)
    assert trapped.read_text().endswith("harness")


def test_a_ray_of_our_own_ignores_the_working_folder(
    tmp_path: Path, trapped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    task = task_in(tmp_path)
    ((same, ended),) = cluster.play([task], address=cluster.LOCAL, cpus=1)
    assert settle(same, ended, tmp_path).kind == "evidence" and not trapped.exists()
    assert Path.cwd() == trapped.parent / "trapped"


def test_the_environment_of_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}.{os.pathsep}/a{os.pathsep}b{os.pathsep}/c")
    assert environment()["PYTHONPATH"] == f"/a{os.pathsep}/c" and environment()["PYTHONSAFEPATH"] == "1"
    monkeypatch.setenv("PYTHONPATH", os.pathsep)
    assert "PYTHONPATH" not in environment()
    assert python("-m", "x")[1:] in (["-P", "-m", "x"], ["-P", "-s", "-m", "x"])


def test_every_place_that_starts_a_process_is_known() -> None:
    """A new one has to be looked at: Python by `children.python`, git by `git.command`."""
    house = Path(harness.__file__).parent
    starts = set()
    for path in house.rglob("*.py"):
        inside = path.relative_to(house).as_posix()
        if inside.startswith(("kit/", "scripts/inside/")):
            continue  # these run in a box
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if (node.value.id, node.attr) in {
                    ("subprocess", "Popen"), ("subprocess", "run"), ("subprocess", "call"), ("os", "system"),
                    ("subprocess", "check_output"), ("os", "execv"), ("os", "popen"), ("os", "posix_spawn"),
                }:  # fmt: skip
                    starts.add(inside)
    assert starts == {
        "batch/playing.py", "environment.py", "git.py", "sandbox/keeper.py", "sandbox/launcher.py",
        "sandbox/leftovers.py", "sandbox/warm.py",
    }  # fmt: skip

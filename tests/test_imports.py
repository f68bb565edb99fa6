"""What `import harness` offers, and that the contracts on imports notice whoever breaks them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).resolve().parent.parent


def test_the_exported_names_are_those_of_the_documents() -> None:
    section = (ROOT / "docs" / "index.md").read_text().split("## From Python")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^\| `harness\.(\w+)` \|", section, re.M)) == sorted(harness.__all__)
    for name in harness.__all__:
        assert getattr(harness, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        harness.nonsense  # noqa: B018


def test_the_kit_exports_what_it_lists() -> None:
    import harness.kit

    assert sorted(set(harness.kit.__all__)) == sorted(harness.kit.__all__)
    assert all(hasattr(harness.kit, name) for name in harness.kit.__all__)
    assert (Path(harness.__file__).parent / "py.typed").is_file()


def contracts(home: Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [str(tool), "--no-cache", "--no-logo", str(ROOT / "pyproject.toml")],
        cwd=home, env={"PYTHONPATH": str(home), "PATH": ""}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "harness", home / "harness", ignore=shutil.ignore_patterns("__pycache__", "texts"))
    return home


def test_the_contracts_are_kept(copied: Path) -> None:
    done = contracts(copied)
    assert done.returncode == 0 and "0 broken" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("audit/kraft.py", "import harness.gate.run", "Imports point one way"),
        ("sandbox/wire.py", "import harness.referee.trace", "Imports point one way"),
        ("batch/local.py", "import harness.gate.run", "Imports point one way"),
        ("git.py", "import harness.environment", "Rooms depend on each other in no circle"),
        ("batch/tasks.py", "import harness.batch.judging", "Rooms depend on each other in no circle"),
        ("papers/reading.py", "import harness.papers.linting", "Rooms depend on each other in no circle"),
        ("text.py", "import harness.record", "Imports point one way"),
        ("referee/trace.py", "import harness.kit.stream", "The trusted side imports nothing that runs in a box"),
        ("scripts/collect.py", "import harness.scripts.inside.book", "The trusted side imports nothing that runs"),
        ("report/view.py", "import harness.scripts.opening", "Views read records"),
        ("papers/code.py", "import harness.scripts.opening", "Imports point one way"),
        ("source/unwrap.py", "import harness.errors", "Imports point one way"),
    ],
)
def test_an_import_that_goes_the_wrong_way_is_noticed(copied: Path, file: str, line: str, broken: str) -> None:
    path = copied / "harness" / file
    before = path.read_text()
    path.write_text(f"{before}\n{line}\n")
    try:
        done = contracts(copied)
    finally:
        path.write_text(before)
    assert done.returncode == 1 and re.search(rf"^{re.escape(broken)}.* BROKEN", done.stdout, re.M), done.stdout

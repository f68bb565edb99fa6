"""What documents quote of the kept records is what the records say, and the pictured leak is one without a doubt."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from harness.adapters.scaffold import scaffold

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make", ROOT / "reports" / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def between(make: ModuleType, path: Path) -> str:
    return path.read_text().split(f"{make.BEGIN}\n")[1].split(f"\n{make.END}")[0]


def test_the_table_and_every_readme_are_those_of_the_records(make: ModuleType) -> None:
    records = make.read_records()
    assert between(make, ROOT / "docs" / "submissions.md") == make.table(records), "run: reports/make.py --tables"
    assert set(records) == {path.parent.name for path in (ROOT / "submissions").glob("*/submission.py")}
    for name, record in records.items():
        assert between(make, ROOT / "submissions" / name / "README.md") == make.paragraph(name, record, records), name


def test_the_pictured_leak_has_an_interval_that_leaves_its_score_out(make: ModuleType) -> None:
    score = json.loads((ROOT / "reports" / "records" / f"{make.PICTURED}.json").read_text())["score"]
    assert score["val_bpb"] < score["honest_bpb"]["low"] < score["honest_bpb"]["estimate"] < score["honest_bpb"]["high"]


def test_the_readmes_twenty_lines_are_what_new_writes(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    path = scaffold(tmp_path, "my_idea", author="A", github_id="a")
    _, _, written = (path / "submission.py").read_text().partition('"""\n\n')
    assert shown == written and len(shown.splitlines()) <= 20


def test_the_readmes_first_screen_is_what_it_caught_and_how_to_begin() -> None:
    screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:45])
    at = [screen.index(words) for words in ("**What it caught.**", "**Install.**", "**One command.**", "**How to read")]
    assert at == sorted(at) and "pull/1184" in screen and ".log:" in screen and "pipx install" in screen

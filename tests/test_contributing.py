"""What CONTRIBUTING says is all that it takes: its examples are put into a copy of the house, and run there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report import records

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns("__pycache__", "texts", ".*_cache")

#: Judges the tiny dataset, and the same without its last token, by the new check alone.
JUDGES = """
import dataclasses, json, sys
from pathlib import Path
import harness
from harness.audit import checks
from harness.verdict import decide
from tests.audit.evidence_builder import evidence
from tests.support import tiny_dataset

assert Path(harness.__file__).is_relative_to(Path.cwd()), harness.__file__
data = tiny_dataset(Path(sys.argv[1]))
assert "evenness" in checks.select("all")
for one in (data, dataclasses.replace(data, validation=data.validation[:-1])):
    (found,) = checks.judge(evidence(one), ["evenness"])
    print(json.dumps([len(one.validation) % 2, found.status, decide([found]).answers.claim.answer]))
"""


def section(title: str) -> str:
    return (ROOT / "CONTRIBUTING.md").read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def apply(title: str, home: Path) -> set[str]:
    """Do what a section's code blocks say: new files, and changes of old ones. Returns the files that it touched."""
    touched = set()
    for kind, block in re.findall(r"^```(python|diff)\n(.*?)^```$", section(title), re.M | re.S):
        if kind == "python":
            (name,) = re.findall(r"`(harness/[\w/]+\.py)`", section(title).split(block)[0].rsplit("```", 2)[-2])
            assert not (home / name).exists()
            (home / name).write_text(block)
        else:
            first, rest = block.split("\n", 1)
            name = first.removeprefix("--- ")
            text = (home / name).read_text()
            for hunk in rest.split("@@\n"):
                lines = hunk.splitlines(keepends=True)
                before = "".join(line[1:] for line in lines if line[0] in " -")
                assert text.count(before) == 1, before
                text = text.replace(before, "".join(line[1:] for line in lines if line[0] in " +"))
            (home / name).write_text(text)
        touched.add(name)
    return touched


def run(home: Path, *words: str) -> str:
    paths = f"{home}:{ROOT}"  # the copy's harness, the checkout's tests
    done = subprocess.run(
        [sys.executable, *words], cwd=home, env={"PYTHONPATH": paths, "PATH": ""},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "house"
    shutil.copytree(ROOT / "harness", made / "harness", ignore=LEFT_OUT)
    shutil.copytree(ROOT / "docs" / "checks", made / "docs" / "checks")
    return made


def changed(home: Path) -> set[str]:
    """Files that are not as they are in the checkout."""
    ours = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    return {
        name
        for name in ours
        if "__pycache__" not in name
        and not ((ROOT / name).is_file() and (ROOT / name).read_bytes() == (home / name).read_bytes())
    }


def test_a_check_is_four_files(home: Path) -> None:
    touched = apply("A new check", home)
    run(home, "-m", "harness", "explain", "--out", "docs/checks")
    assert changed(home) == touched | {"docs/checks/evenness.md"} and len(changed(home)) == 4
    page = (home / "docs" / "checks" / "evenness.md").read_text()
    assert "Is the number of tokens even?" in page and "nothing is evaluated for it" in page
    (home / "data").mkdir()
    judged = [json.loads(line) for line in run(home, "-c", JUDGES, "data").splitlines()]
    says = {1: ["FAIL", "CONTRADICTED"], 0: ["PASS", "SUPPORTED"]}
    assert sorted(odd for odd, *_ in judged) == [0, 1] and all(said == says[odd] for odd, *said in judged)


def test_a_report_format_is_two_files(home: Path) -> None:
    touched = apply("A new report format", home)
    assert changed(home) == touched and len(touched) == 2
    record = records.passing()
    (home / "record.json").write_text(record.to_json())
    shown = run(home, "-m", "harness", "report", "record.json", "--format", "line", "--out", "-")
    assert shown == f"{record.submission.name}: VALID, WITHIN, NOT_CLAIMED\n"
    assert "line is a line for a chat" in " ".join(run(home, "-m", "harness", "report", "--help").split())

"""Options from a file: they count where nothing is said, are named when they are wrong, and cannot open the box."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import write_submission

HARNESS = [sys.executable, "-m", "harness"]


def harness(*args: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HARNESS, *args], cwd=cwd, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, **variables},
    )  # fmt: skip


def lint(cwd: Path, *words: str, **variables: str) -> tuple[str, str]:
    """The ruleset that judged a folder's papers, and what was said about it."""
    done = harness("lint", "mine", "--json", *words, cwd=cwd, **variables)
    assert done.returncode in (0, 1), done.stderr
    (record,) = json.loads(done.stdout)
    return record["ruleset"]["name"], done.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_submission(tmp_path / "work" / "mine")
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_a_file_says_what_the_command_line_leaves_open(home: Path) -> None:
    work = home / "work"
    assert lint(work) == ("2026-04-28", "")
    (home / "pyproject.toml").write_text('[tool.harness]\nruleset = "2026-03-18"\nmemory = 2\n')
    assert lint(work) == ("2026-03-18", "options from ../pyproject.toml: ruleset\n")
    assert lint(work, "--ruleset", "strict")[0] == "strict", "the command line wins"
    (work / "harness.toml").write_text('ruleset = "2026-04-28"\n[lint]\nruleset = "strict"\n')
    assert lint(work)[0] == "strict", "the nearest counts, and a command's own table before what is shared"
    assert lint(work, HARNESS_CONFIG="none") == ("2026-04-28", "")
    assert lint(work, HARNESS_CONFIG="../pyproject.toml")[0] == "2026-03-18"


def test_nothing_is_read_from_beyond_the_repository(home: Path) -> None:
    (home / "work" / ".git").mkdir()
    (home / "harness.toml").write_text('ruleset = "strict"\n')
    (home / "work" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert lint(home / "work") == ("2026-04-28", "")


def test_paths_in_it_are_relative_to_it(home: Path) -> None:
    (home / "harness.toml").write_text('[lint]\nout = "records"\n')
    assert lint(home / "work")[0] and (home / "records" / "record.json").is_file()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rulset = 'strict'", "no option 'rulset' that several commands share; did you mean ruleset?"),
        ("[lint]\nprevios = 'x'", "`harness lint` has no option 'previos'; did you mean previous?"),
        ("[lint]\nfail-on = 'nothing'", "fail-on: 'nothing' is not"),
        ("[lint]\nstrict = 1", "strict takes true or false"),
        ("[lint]\npull = [1, 2]", "pull takes one value"),
        ("no-sandbox = true", "no-sandbox is for the command line alone"),
        ("sandbox = 'none'", "sandbox is for the command line alone"),
        ("ruleset = ", "cannot read options from ../harness.toml"),
    ],
)
def test_what_is_wrong_with_it_is_one_line(text: str, says: str, home: Path) -> None:
    (home / "harness.toml").write_text(text + "\n")
    done = harness("lint", "mine", cwd=home / "work")
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("harness: ") and "../harness.toml" in line and says in line


def test_a_gate_reads_none(home: Path) -> None:
    (home / "harness.toml").write_text("ruleset = 'nothing like it'\n")
    done = harness("gate", "--base", "a", "--head", "b", cwd=home)
    assert "nothing like it" not in done.stderr and "options from" not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "mine", "--memory", "0"), "'--memory': 0.0 is not in the range x>0."),
        (("run", "mine", "--timeout", "-3"), "'--timeout': -3.0 is not in the range x>0."),
        (("batch", "mine", "--item-timeout", "-3"), "'--item-timeout': -3.0 is not in the range x>0."),
        (("run", "min"), "no submission at min; did you mean mine?"),
        (("lint", "min"), "no folder min; did you mean mine?"),
        (("run", "mine", "--checks", "causalty"), "no check 'causalty'; did you mean causality?"),
        (("audit", "mine", "--checks", "causalty"), "no check 'causalty'; did you mean causality?"),
        (("lint", "mine", "--ruleset", "2026-04-2"), "no ruleset '2026-04-2'; did you mean 2026-04-28?"),
        (("explain", "causalty"), "practice, violation, reason or word 'causalty'; did you mean causality?"),
        (("replay", "record.json", "claim"), "the record has no finding 'claim'; did you mean claims?"),
        (("rnu", "mine"), "No such command 'rnu'; did you mean run?"),
    ],
)
def test_a_slip_is_one_line_before_anything_starts(words: tuple[str, ...], says: str, home: Path) -> None:
    if words[0] == "replay":
        (record,) = json.loads(harness("lint", "mine", "--json", cwd=home / "work").stdout)
        (home / "work" / "record.json").write_text(json.dumps(record))
    done = harness(*words, cwd=home / "work")
    assert done.returncode == 2 and done.stdout == "", done.stderr
    (line,) = done.stderr.splitlines()
    assert says in line and not (home / "work" / "runs").exists()


def test_a_name_under_submissions_is_found(home: Path) -> None:
    write_submission(home / "submissions" / "tuned")
    done = harness("run", "tuned", cwd=home)
    assert "did you mean submissions/tuned?" in done.stderr

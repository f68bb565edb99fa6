"""What a command imports, and what the list of commands says of them without importing one."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import harness.cli
from harness.cli import COMMANDS, cli
from tests.papers.papers import folder, three

#: Runs a command in this process, and says which packages that has imported.
ASKS = """
import contextlib, io, json, sys
from harness.cli import main
sys.argv = ["harness", *json.loads(sys.argv[1])]
out = io.StringIO()
try:
    with contextlib.redirect_stdout(out):
        main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(json.dumps([len(out.getvalue()), sorted({name.split(".")[0] for name in sys.modules})]))
"""
SLOW = {"torch", "scipy", "pandas"}


def imported(*words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", ASKS, json.dumps(words)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    printed, names = json.loads(done.stdout.splitlines()[-1])
    assert printed > 10
    return set(names)


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["-h"]], ids=" ".join)
def test_version_and_help_wait_for_nothing(words: list[str]) -> None:
    names = imported(*words)
    assert "click" in names and not names & {*SLOW, "numpy", "pydantic", "jinja2"}


def test_lint_imports_neither_torch_nor_statistics(tmp_path: Path) -> None:
    names = imported("lint", str(folder(tmp_path, three())))
    assert "pydantic" in names and not names & {*SLOW, "numpy", "sentencepiece", "jinja2"}


def test_what_needs_torch_says_so_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("MODEL = 1\n")
    for more in ([], ["--trusted"]):
        code = f"import sys; sys.modules['torch'] = None; sys.argv = ['harness', 'check', 'model.py:MODEL', *{more}]"
        done = subprocess.run(
            [sys.executable, "-c", f"{code}; from harness.cli import main; main()"], cwd=tmp_path, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stderr == "harness: running needs torch: pip install 'golf-harness[run]'\n" and done.returncode == 4


def test_the_package_itself_imports_nothing() -> None:
    code = (
        "import harness, sys; print([name for name in sys.modules if name.startswith(('harness.', 'numpy', 'click'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_every_module_of_a_command_is_listed_and_no_other() -> None:
    home = Path(str(harness.cli.__file__)).parent
    assert {path.stem for path in home.glob("*.py")} == {*COMMANDS, "__init__", "completing", "config", "options"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_the_first_sentence_of_a_commands_own_help(name: str) -> None:
    command = importlib.import_module(f"harness.cli.{name}").command
    assert isinstance(command, click.Command) and command.name == name and cli.get_command(click.Context(cli), name)
    first = " ".join(inspect.cleandoc(command.help or "").split("\n\n")[0].split())
    assert first == COMMANDS[name] or first.startswith(f"{COMMANDS[name]} ")
    assert f"harness {name}" in (importlib.import_module(f"harness.cli.{name}").__doc__ or "")


def test_help_lists_all_and_an_unknown_command_is_named() -> None:
    done = CliRunner().invoke(cli, ["--help"])
    assert all(f"\n  {name} " in done.output for name in COMMANDS)
    assert "No such command 'frobnicate'" in CliRunner().invoke(cli, ["frobnicate"]).output

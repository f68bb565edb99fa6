"""What shells offer after Tab: the scripts of the documents, and the words, in each of the shells that click knows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from harness import rules
from harness.audit.checks import CHECKS
from harness.cli import COMMANDS, cli, completing
from harness.scripts.checks import judging
from tests.report.records import failing
from tests.support import write_submission

ROOT = Path(__file__).resolve().parent.parent.parent
SHELLS: tuple[type[ShellComplete], ...] = (BashComplete, ZshComplete, FishComplete)
Words = tuple[str, ...]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with submissions, one of them with a name that no shell should be given, and records."""
    for name in ("first", "second"):
        write_submission(tmp_path / "submissions" / name)
    (tmp_path / "submissions" / "$(touch pwned)").mkdir()
    (tmp_path / "submissions" / ".hidden").mkdir()
    (tmp_path / "records" / "track_10min_16mb" / "2026-04-09_Mine").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "record.json").write_text(failing().to_json())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(shell: type[ShellComplete], *words: str) -> list[tuple[str, str]]:
    """(type, value) of what a shell is offered for the last of some words."""
    made = shell(cli, {}, "harness", completing.VARIABLE)
    return [(item.type, item.value) for item in made.get_completions(list(words[:-1]), words[-1])]


def values(*words: str) -> list[str]:
    found = offered(BashComplete, *words)
    assert {kind for kind, _ in found} <= {"plain"}
    return [value for _, value in found]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell.name)
@pytest.mark.parametrize("command", ["run", "audit"])
def test_submissions_checks_and_rulesets(shell: type[ShellComplete], command: str, home: Path) -> None:
    plain = [("plain", "submissions/first"), ("plain", "submissions/second")]
    assert offered(shell, command, "sub") == plain
    assert ("plain", "example:causal_slot") in offered(shell, command, "") and offered(shell, command, "")[:2] == plain
    known = {value for _, value in offered(shell, command, "submissions/first", "--checks", "")}
    assert known == {"all", "score", *CHECKS, *(judging.CHECKS if command == "audit" else ())}
    assert offered(shell, command, "--checks", "causality,null") == [("plain", "causality,null-stream")]
    assert offered(shell, command, "--checks", "causality,caus") == [], "not twice"
    assert [value for _, value in offered(shell, command, "x", "--ruleset", "")] == rules.available()
    assert offered(shell, command, "x", "--ruleset=str") == [("plain", "strict")]
    assert offered(shell, command, "x", "--ruleset", "./mine") == [("file", "./mine")]
    assert ("plain", "--checks") in offered(shell, command, "--ch")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell.name)
def test_folders_and_rulesets_of_lint(shell: type[ShellComplete], home: Path) -> None:
    assert [value for _, value in offered(shell, "lint", "")] == [
        "submissions/first", "submissions/second", "records/track_10min_16mb/2026-04-09_Mine",
    ]  # fmt: skip
    assert offered(shell, "lint", "submissions/first", "records/t") == [
        ("plain", "records/track_10min_16mb/2026-04-09_Mine")
    ]
    assert offered(shell, "lint", "elsewhere/") == [("dir", "elsewhere/")]
    assert offered(shell, "lint", "x", "--ruleset", "2026-04") == [("plain", "2026-04-28")]


def test_what_else_is_known(home: Path) -> None:
    assert values("r") == ["run", "replay", "report"] and set(values("")) == set(COMMANDS)
    assert values("run", "x", "--data", "com") == ["commons"]
    assert values("new", "x", "--from", "etlb_") == ["etlb_batched"]
    assert {"causality", "second_pass", "V10", "shared-delta"} <= set(values("explain", ""))
    assert values("explain", "causalit") == ["causality"]
    assert values("replay", "run", "") == [one.id for one in failing().findings if one.witness]
    assert set(values("replay", "nowhere", "caus")) == {"causality"}
    assert offered(BashComplete, "run", "x", "--data", "my/") == [("file", "my/")]
    assert offered(BashComplete, "run", "elsewhere/tr") == [("file", "elsewhere/tr")]
    assert offered(BashComplete, "run", "example:nothing") == [("file", "example:nothing")]


def test_a_strangers_names_are_left_to_the_shell_which_quotes_them(home: Path) -> None:
    for words in (("run", "submissions/$"), ("lint", "submissions/$")):
        ((kind, value),) = offered(BashComplete, *words)
        assert kind in ("file", "dir") and value == "submissions/$"
    assert "pwned" not in str(offered(FishComplete, "run", "")) + str(offered(ZshComplete, "lint", ""))
    body = json.loads(failing().to_json())
    body["findings"][0]["id"] = "$(touch pwned)"
    (home / "run" / "record.json").write_text(json.dumps(body))
    assert "$(touch pwned)" not in values("replay", "run", "")


def test_every_option_of_these_kinds_completes_wherever_it_stands() -> None:
    context = click.Context(cli)
    seen = set()
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        for option in command.params:
            if option.name in ("checks", "ruleset", "data") and isinstance(option, click.Option):
                with click.Context(command, info_name=name) as inside:
                    found = option.shell_complete(inside, "")
                assert found and {item.type for item in found} == {"plain"}, (name, option.name)
                seen.add(option.name)
    assert seen == {"checks", "ruleset", "data"}


def asked(shell: str, tmp_path: Path, *words: str, cursor: int | None = None) -> list[str]:
    """What the command prints when a shell asks it, in a process of its own."""
    script = tmp_path / "bin" / "harness"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!{sys.executable} -P\nfrom harness.cli import main\nmain()\n")
    script.chmod(0o755)
    at = len(words) - 1 if cursor is None else cursor
    state = {"COMP_WORDS": " ".join(words), "COMP_CWORD": words[at] if shell == "fish" else str(at)}
    path = f"{script.parent}:{os.environ['PATH']}"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, completing.VARIABLE: f"{shell}_complete", **state}
    done = subprocess.run(["harness"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


def test_each_shell_asks_in_its_own_way(home: Path) -> None:
    words = ("harness", "audit", "submissions/first", "--checks", "null")
    assert asked("bash", home, *words) == ["plain,null-stream"]
    assert asked("zsh", home, *words)[:2] == ["plain", "null-stream"]
    (line,) = asked("fish", home, *words)
    assert line.startswith("plain,null-stream\t") and line.endswith("?")
    assert asked("zsh", home, "harness", "run", "example:etlb_b")[:2] == ["plain", r"example\:etlb_batched"]


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (("harness", "run", "example", ":", "etlb_b"), ["plain,etlb_batched"]),
        (("harness", "run", "example", ":", "etlb_b", "--checks", "null"), ["plain,null-stream"]),
        (("harness", "run", "example:etlb_b"), ["plain,example:etlb_batched"]),
        (("harness", "run", "x", "--data", "fine"), ["plain,fineweb:sp1024"]),
        (("harness", "run", "x", "--data", "fineweb", ":", "sp"), ["plain,sp1024"]),
    ],
)
def test_bash_which_ends_words_at_colons_is_given_the_rest(words: Words, given: list[str], home: Path) -> None:
    assert asked("bash", home, *words) == given
    if words[-2:-1] == (":",):
        assert given[0].removeprefix("plain,") in [
            line.removeprefix("plain,") for line in asked("bash", home, *words[:-1])
        ], "right after the colon"


def test_the_scripts_of_the_documents_are_those_that_shells_are_given(home: Path) -> None:
    text = (ROOT / "docs" / "first-hour.md").read_text()
    lines = {
        "bash": 'eval "$(_HARNESS_COMPLETE=bash_source harness)"',
        "zsh": 'eval "$(_HARNESS_COMPLETE=zsh_source harness)"',
        "fish": "_HARNESS_COMPLETE=fish_source harness | source",
    }
    for shell in SHELLS:
        assert lines[shell.name] in text, shell.name
        source = shell(cli, {}, "harness", completing.VARIABLE).source()
        assert f"{completing.VARIABLE}={shell.name}_complete" in source and "_harness_completion" in source
    asked("bash", home, "harness", "")  # puts harness into a folder of programs
    script = f"""
        {lines["bash"]}
        complete -p harness
        ask() {{ COMP_WORDS=(harness "$@"); COMP_CWORD=$#; COMPREPLY=(); _harness_completion harness; }}
        ask run example : causal_slot_b; echo "${{COMPREPLY[@]}}"
        ask lint submissions/; echo "${{COMPREPLY[@]}}"
    """
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-e", "-c", script], cwd=home, env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    first, *rest = done.stdout.splitlines()
    assert re.search(r"-F _harness_completion harness$", first), done.stderr
    assert rest == ["causal_slot_batched", "submissions/first submissions/second"]


def test_a_completion_that_cannot_be_made_says_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "run" / "record.json").write_text("{")
    assert "causality" in values("replay", "run", "")
    monkeypatch.setattr("harness.environment.examples", lambda: None)
    found: Any = values("run", "")
    assert found == ["submissions/first", "submissions/second"] and values("new", "x", "--from", "") == []

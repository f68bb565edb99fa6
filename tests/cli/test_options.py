"""Groups of options: each flag is declared once, and what does not apply is refused instead of dropped."""

from __future__ import annotations

import importlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from harness.batch.tasks import Settings
from harness.cli import COMMANDS, cli
from harness.cli import audit as auditing
from harness.cli import batch as batching
from harness.cli.audit import known_checks
from harness.cli.options import BoxOptions, OwnBoxOptions, SettingsOptions, flag, given, names_of, takes
from harness.scripts.checks import judging
from tests.report.records import passing
from tests.scripts.audits import write_script
from tests.support import write_submission


def commands() -> dict[str, click.Command]:
    return {name: importlib.import_module(f"harness.cli.{name}").command for name in COMMANDS}


@dataclass(frozen=True)
class Greeting:
    words: tuple[str, ...] = flag("--word", default=("hello",), multiple=True, show_default=True, help="What to say.")
    loud: bool = flag("--loud", "-l", default=False, is_flag=True)


def test_a_group_is_handed_over_as_one_object_and_keeps_the_order_of_its_flags() -> None:
    seen: list[object] = []

    @click.command()
    @click.argument("name")
    @takes(greeting=Greeting, settings=SettingsOptions)
    def greet(name: str, greeting: Greeting, settings: SettingsOptions) -> None:
        seen.extend((name, greeting, settings, given("loud"), given("words")))

    assert [option.name for option in greet.params] == ["name", "words", "loud", "env"]
    assert names_of(Greeting, SettingsOptions) == ["words", "loud", "env"]
    assert CliRunner().invoke(greet, ["you", "-l", "--env", "A=1", "--env", "B=x=y", "--env", "C="]).exit_code == 0
    pairs = (("A", "1"), ("B", "x=y"), ("C", ""))
    assert seen == ["you", Greeting(("hello",), True), SettingsOptions(pairs), True, False]
    assert Greeting() == Greeting(("hello",), False), "a group without a command line has the flags' defaults"


def test_memory_is_in_gigabytes_and_each_task_has_its_own_default() -> None:
    assert BoxOptions().memory_bytes() == 4 << 30 and BoxOptions().memory_bytes(3 << 30) == 3 << 30
    assert BoxOptions(memory=0.5).memory_bytes(3 << 30) == 1 << 29
    assert OwnBoxOptions(no_sandbox=True, sandbox="native").level == "none"
    assert OwnBoxOptions(sandbox="native").level == "native"


def test_a_flag_of_the_same_name_means_the_same_everywhere() -> None:
    """It was declared up to seven times; the few that differ say why at their place."""
    spelled = defaultdict(set)
    for name, found in commands().items():
        for option in found.params:
            if isinstance(option, click.Option):
                for spelling in option.opts:
                    spelled[spelling].add((option.name, option.type.to_info_dict()["param_type"], option.help))
                    assert option.help, f"{name} {spelling} says nothing of itself"
    differ = {spelling for spelling, kinds in spelled.items() if len(kinds) > 1}
    assert differ == {
        "--out",  # a folder, an archive, a page, a file of text
        "--fail-on",  # a gate's has more to choose from
        *("--base", "--repo", "--tier"),  # of one pull request, or of a queue
        "--artifact",  # what is scored, or what an archive is decoded with
        "--fresh",  # train again, or judge a backlog again
        "--cache",  # a gate's is that of results
        "--previous",  # a record, or a folder of papers
        "--seed",  # `run` and `audit` take several
        "--submission",  # a replay needs it only where it has moved
    }


def refused(done: Result, option: str, *says: str) -> None:
    (line,) = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert done.exit_code == 2 and line.startswith(f"Error: {option} ("), done.output
    for text in says:
        assert text in line


ADAPTERS_ONLY = [
    ("--data", "stdlib"), ("--cache", "somewhere"), ("--scale", "smoke"), ("--seed", "1"), ("--device", "cpu"),
    ("--null-source", "model"), ("--previous", "old"), ("--depth", "deep"), ("--audit-seed", "3"), ("--fresh",),
]  # fmt: skip


@pytest.mark.parametrize("words", ADAPTERS_ONLY, ids=lambda words: words[0])
def test_what_a_script_has_no_use_for_is_refused(words: tuple[str, ...], tmp_path: Path) -> None:
    path = write_script(tmp_path / "s", "pass\n")
    done = CliRunner().invoke(cli, ["audit", str(path), "--out", str(tmp_path / "out"), *words])
    refused(done, words[0], "is for folders with a submission.py", "is a script")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What an audit would have judged: nothing of it is run."""
    asked: list[str] = []
    monkeypatch.setattr(auditing, "run_adapters", lambda paths, *_, **__: asked.append("adapters") or [])
    monkeypatch.setattr(auditing, "_audit_scripts", lambda paths, *_, **__: asked.append("scripts") or [])
    return asked


@pytest.mark.parametrize("words", ADAPTERS_ONLY, ids=lambda words: words[0])
def test_beside_a_folder_with_a_submission_it_applies(
    words: tuple[str, ...], tmp_path: Path, stopped: list[str]
) -> None:
    script, adapter = write_script(tmp_path / "s", "pass\n"), write_submission(tmp_path / "mine").path
    done = CliRunner().invoke(cli, ["audit", str(script), str(adapter), *words])
    assert (done.exit_code, stopped) == (0, ["adapters", "scripts"]), done.output
    alone = CliRunner().invoke(cli, ["audit", str(adapter), *words])
    assert alone.exit_code == 0 and stopped[2:] == ["adapters"], alone.output


def test_what_the_environment_says_is_no_word_of_the_command(
    tmp_path: Path, stopped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    done = CliRunner().invoke(cli, ["audit", str(write_script(tmp_path / "s", "pass\n"))])
    assert (done.exit_code, stopped) == (0, ["scripts"]), done.output


def test_what_only_scripts_have_is_refused_for_folders_with_a_submission(tmp_path: Path, stopped: list[str]) -> None:
    adapter = str(write_submission(tmp_path / "mine").path)
    refused(CliRunner().invoke(cli, ["audit", adapter, "--env", "A=1"]), "--env", "is for scripts")
    refused(CliRunner().invoke(cli, ["audit", adapter, "--explain"]), "--explain", "is for scripts")
    assert stopped == []


def test_ranks_have_one_name_and_an_alias(tmp_path: Path, stopped: list[str]) -> None:
    having = {name for name, found in commands().items() if any("--ranks" in option.opts for option in found.params)}
    assert having == {"run", "audit", "batch"}
    for name in having:
        (option,) = [option for option in commands()[name].params if option.name == "ranks"]
        assert option.opts == ["--ranks", "--nproc"]
    script = str(write_script(tmp_path / "s", "pass\n"))
    done = CliRunner().invoke(cli, ["audit", script, "--nproc", "8"])
    assert done.exit_code == 2 and "a script is played by 4 processes at most" in done.output and stopped == []


def test_two_answers_to_one_question_are_refused(tmp_path: Path, stopped: list[str]) -> None:
    script = str(write_script(tmp_path / "s", "pass\n"))
    done = CliRunner().invoke(cli, ["audit", script, "--flip-test", "--checks", "causality"])
    assert done.exit_code == 2 and "give one of them" in done.output and stopped == []


@pytest.mark.parametrize("words", [("--data", "stdlib"), ("--cache", "somewhere")])
def test_the_replay_of_a_script_has_no_use_for_data(words: tuple[str, str], tmp_path: Path) -> None:
    made = passing()
    script = made.model_copy(update={"submission": made.submission.model_copy(update={"kind": "script"})})
    (tmp_path / "record.json").write_text(script.sealed().to_json())
    refused(CliRunner().invoke(cli, ["replay", str(tmp_path), "causality", *words]), words[0], "record of a script")


def test_a_gate_is_never_without_a_box() -> None:
    done = CliRunner().invoke(cli, ["gate", "--base", "a", "--head", "b", "--sandbox", "none"])
    assert done.exit_code == 2 and "in a box or not at all" in done.output


@pytest.fixture
def batched(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Settings that a batch would have judged by: nothing of it is run."""
    asked: list[Settings] = []

    def judge(items: object, settings: Settings, *_: object, **__: object) -> None:
        asked.append(settings)
        raise SystemExit(0)

    monkeypatch.setattr(batching, "judge", judge)
    return asked


def batch(tmp_path: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["batch", *map(str, words), "--out", str(tmp_path / "out"), "-q"])


def test_a_batch_refuses_what_nothing_in_its_list_has_a_use_for(tmp_path: Path, batched: list[Settings]) -> None:
    script = write_script(tmp_path / "s", "pass\n").parent
    adapter = write_submission(tmp_path / "mine").path
    refused(batch(tmp_path, script, "--data", "stdlib"), "--data", "folders with a submission.py; none is listed")
    refused(batch(tmp_path, script, "--seed", "2"), "--seed", "none is listed")
    refused(batch(tmp_path, adapter, "--env", "A=1"), "--env", "is for scripts; none is listed")
    for words in (("--memory", "2"), ("--ranks", "2"), ("--checks", "causality"), ("--data", "stdlib")):
        refused(batch(tmp_path, script, "--lint", *words), words[0], "does not go with --lint")
    assert batched == []


def test_a_batch_hands_on_what_was_said(tmp_path: Path, batched: list[Settings]) -> None:
    script = write_script(tmp_path / "s", "pass\n").parent
    done = batch(tmp_path, script, "--env", "A=x y", "--ranks", "2", "--memory", "2", "--strict")
    assert done.exit_code == 0, done.output
    plain = ("--strict", "--sandbox", "auto", "--ranks", "2", "--memory", "2.0")
    assert batched[0].scripts == (*plain, "--env", "A=x y") and batched[0].lint is None
    assert batched[0].adapters == (*plain, "--scale", "smoke", "--seed", "1")
    assert batch(tmp_path, script, "--lint", "--strict").exit_code == 0 and batched[1].lint == ("--strict",)


def test_a_quick_look_asks_for_one_evaluation_whatever_is_judged(tmp_path: Path, batched: list[Settings]) -> None:
    script = write_script(tmp_path / "s", "pass\n").parent
    assert batch(tmp_path, script, "--checks", "score").exit_code == 0
    assert batched[0].scripts[-2:] == batched[0].adapters[-2:] == ("--checks", "score")
    names = known_checks("score")
    assert not judging.needs(names) and {"byte-accounting", "size-limit", "coverage"} <= {*names}

"""`harness replay`: the command that the views print is pasted into a shell, and what cannot be replayed is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness import rules
from harness.cli import cli
from harness.errors import HarnessError
from harness.record import Record
from tests.papers.papers import folder, three
from tests.report.commands import copied, paste
from tests.scripts.audits import SCRIPT, write_script
from tests.support import shipped, tiny_documents, write_submission


def run(*args: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, args)])


def refused(result: Result) -> str:
    """What a command that was refused says, in one line; its exit code is 2."""
    if isinstance(result.exception, HarnessError):
        assert result.exception.exit_code == 2
        said = str(result.exception)
    else:
        assert result.exit_code == 2, result.output
        said = result.output.strip().splitlines()[-1]
    assert "\n" not in said
    return said


def one_command(record: Record, finding: str, views: set[str]) -> str:
    """The command for a finding, which has to be the same in these views."""
    seen = {name: [one for one in made if one.split()[-1] == finding] for name, made in copied(record).items()}
    assert {name for name, made in seen.items() if made} >= views, seen
    (command,) = {one for made in seen.values() for one in made}
    return command


EVERYWHERE = {"terminal", "html", "markdown", "junit", "sarif"}
#: Bytes that are not those of the contest's text: byte-accounting fails.
WRONG = {"text_bytes": 176_332_748}
PAPERS = "track_10min_16mb/the papers"


@pytest.fixture
def papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which the papers of a folder with a blank in its name were found to be wrong."""
    monkeypatch.chdir(tmp_path)
    made = folder(tmp_path, three(**WRONG), name="the papers")
    assert run("lint", made.relative_to(tmp_path), "--out", "out of it").exit_code == 1
    return tmp_path


def test_papers_are_replayed_by_what_every_view_prints(papers: Path) -> None:
    command = one_command(Record.load(papers / "out of it"), "byte-accounting", EVERYWHERE)
    done = paste(command, papers)
    assert done.returncode == 0 and done.stdout.startswith("reproduced: "), done.stdout + done.stderr
    printed = run("lint", PAPERS, "--out", "out of it").output
    assert f"replay    {command}\n" in printed
    shown = run("report", "out of it", "--format", "md", "--out", "-").output
    assert f"`{command}`" in shown


def test_a_record_is_found_from_elsewhere_and_its_submission_too(papers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(papers / "out of it")
    assert run("replay", "record.json", "byte-accounting").exit_code == 0
    monkeypatch.chdir("/")
    assert run("replay", papers / "out of it", "byte-accounting").exit_code == 0
    (papers / "out of it").rename(papers / "moved")
    shown = run("report", papers / "moved", "--format", "md", "--out", "-").output
    assert "moved/record.json' byte-accounting`" in shown or "moved/record.json byte-accounting`" in shown
    (papers / PAPERS).rename(papers / "elsewhere")
    assert f"no submission at {PAPERS}" in refused(run("replay", papers / "moved", "byte-accounting"))
    done = run("replay", papers / "moved", "byte-accounting", "--submission", papers / "elsewhere")
    assert done.exit_code == 0, done.output


def test_papers_that_are_no_longer_judged_so_are_not_reproduced(papers: Path) -> None:
    body = json.loads((papers / "out of it" / "record.json").read_text())
    found = next(one for one in body["findings"] if one["id"] == "byte-accounting")
    found["witness"]["data"]["quotes"][0]["line"] += 1
    (papers / "out of it" / "record.json").write_text(json.dumps(body))
    done = run("replay", "out of it", "byte-accounting")
    assert done.exit_code == 3 and done.output.startswith("NOT reproduced: the same offence, with other numbers")


def test_what_cannot_be_replayed_is_refused_in_one_line(papers: Path) -> None:
    said = refused(run("replay", "out of it", "nonsense"))
    assert said.startswith("the record has no finding 'nonsense'; those with a witness: ") and "byte-accounting" in said
    assert "has no witness; there is nothing to replay" in refused(run("replay", "out of it", "data-split"))
    assert "--data" in refused(run("replay", "out of it", "byte-accounting", "--data", "stdlib"))
    assert "--sandbox" in refused(run("replay", "out of it", "byte-accounting", "--sandbox", "none"))
    before = Record.load(papers / "out of it").submission.sha256
    (papers / PAPERS / "README.md").write_text("another")
    said = refused(run("replay", "out of it", "byte-accounting"))
    assert said.startswith(f"{PAPERS} has changed since: sha256 {before} in the record, ") and "--submission" in said


def test_the_rules_that_judged_judge_again_when_their_file_is_gone(papers: Path) -> None:
    """A ruleset of the user's own, which forbids what the shipped one leaves alone; and a text that was changed."""
    own = 'extends = "2026-04-28"\nname = "own"\n[limits]\ntotal_bytes = 15_000_000\n'
    (papers / "own.toml").write_text(own)
    fits = folder(papers, three(), name="fits")
    assert run("lint", fits, "--out", "strict", "--ruleset", "own.toml").exit_code == 1
    (papers / "own.toml").unlink()
    record = Record.load(papers / "strict")
    assert record.ruleset.texts == [*rules.load().texts, own] and record.ruleset.load().limits.total_bytes == 15_000_000
    assert run("replay", "strict", "size-limit").exit_code == 0
    other = run("replay", "strict", "size-limit", "--ruleset", "2026-04-28")
    assert other.exit_code == 3 and "not seen again" in other.output
    body = json.loads((papers / "strict" / "record.json").read_text())
    body["ruleset"]["texts"][1] = own.replace("15_0", "14_0")
    (papers / "strict" / "record.json").write_text(json.dumps(body))
    assert "are not those that it names" in refused(run("replay", "strict", "size-limit"))
    body["ruleset"]["texts"] = []  # as in a record from before, whose ruleset nobody has any more
    (papers / "strict" / "record.json").write_text(json.dumps(body))
    assert "does not hold its rules (own" in refused(run("replay", "strict", "size-limit"))


@pytest.mark.box
@pytest.mark.slow
def test_a_script_is_replayed_by_what_every_view_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_script(tmp_path / "2026 script", SCRIPT.read_text())
    done = run("audit", "2026 script", "--env", "EVAL_MODE=slot_context", "--out", "my out", "--memory", "2.5", "-q")
    assert done.exit_code == 1, done.output
    record = Record.load(tmp_path / "my out")
    assert record.environment["limits"]["memory_bytes"] == int(2.5 * (1 << 30))
    again = paste(one_command(record, "causality", EVERYWHERE), tmp_path)
    assert again.returncode == 0 and "seen again, to the last digit" in again.stdout, again.stdout + again.stderr
    with (tmp_path / "2026 script" / "train_gpt.py").open("a") as file:
        file.write("\n# another\n")
    changed = refused(run("replay", "my out", "causality", "-q"))
    assert f"has changed since: sha256 {record.submission.sha256} in the record" in changed


@pytest.mark.box
@pytest.mark.slow
def test_a_submission_is_replayed_by_what_every_view_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "my data.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in tiny_documents()))
    write_submission(tmp_path / "the leak", code=shipped("scored_slot"))
    options = ["--data", "my data.jsonl", "--out", "my out", "--depth", "quick", "-q"]
    done = run("audit", "the leak", "--checks", "determinism,causality", *options)
    assert done.exit_code == 1, done.output
    record = Record.load(tmp_path / "my out" / "audit")
    command = one_command(record, "causality", EVERYWHERE - {"sarif"})  # rows have no line in a file
    again = paste(command, tmp_path)
    assert again.returncode == 0 and "seen again, to the last digit" in again.stdout, again.stdout + again.stderr

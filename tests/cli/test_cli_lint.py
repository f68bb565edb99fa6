"""The command `harness lint`: exit codes, JSON, records, and errors in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli import cli
from harness.record import Record
from tests.papers.papers import folder, three


def run(*args: object) -> Result:
    return CliRunner().invoke(cli, ["lint", *map(str, args)])


@pytest.mark.parametrize(
    ("change", "options", "code"),
    [
        ({}, [], 0),
        ({"text_bytes": 176_332_748}, [], 1),
        ({"shards": 1499, "tokens": 47_851_520, "text_bytes": 151_074_499, "loss": 2.33}, [], 0),
        (
            {"shards": 1499, "tokens": 47_851_520, "text_bytes": 151_074_499, "loss": 2.33},
            ["--fail-on", "incomplete"],
            3,
        ),
        ({}, ["--fail-on", "incomplete"], 0),
        ({"text_bytes": 176_332_748}, ["--fail-on", "incomplete"], 1),
        ({"eval_ms": 590_000, "warmup": 90.0}, [], 0),
        ({"eval_ms": 590_000, "warmup": 90.0}, ["--strict"], 1),
    ],
)
def test_exit_codes(tmp_path: Path, change: dict[str, object], options: list[str], code: int) -> None:
    result = run(folder(tmp_path, three(**change)), *options)
    assert result.exit_code == code, result.output


def test_json_and_records(tmp_path: Path) -> None:
    first, second = folder(tmp_path, name="first"), folder(tmp_path, name="second")
    (body,) = json.loads(run(first, "--json").stdout)
    both = json.loads(run(first, second, "--json").stdout)
    assert both[0]["submission"] == body["submission"] and len(both) == 2, "one shape, however many there are"
    assert body["submission"]["kind"] == "evidence" and body["score"] is None
    assert (
        body["answers"]["score"]["answer"] == "UNDECIDED" and "nothing was run" in body["answers"]["score"]["sentence"]
    )
    result = run(first, second, "--out", tmp_path / "out", "--fail-on", "incomplete")
    assert result.exit_code == 3 and "byte for byte" in result.output and "INCOMPLETE" in result.output
    assert Record.load(tmp_path / "out" / "first").exit_code == 3
    assert run(first, second).exit_code == 0
    assert {Record.load(tmp_path / "out" / name).submission.path for name in ("first", "second")} == {"first", "second"}


def test_the_record_to_beat(tmp_path: Path) -> None:
    before = folder(tmp_path, three(loss=2.80), name="before")
    path = folder(tmp_path, name="new", script="print('other')\n")
    assert run(path, "--previous", before).exit_code in (0, 3)
    result = run(before, "--previous", path)
    assert result.exit_code == 1 and "significance" in result.output


def test_errors_are_one_line(tmp_path: Path) -> None:
    from harness.errors import UsageError

    result = run(tmp_path / "nowhere")
    assert isinstance(result.exception, UsageError) and "no folder" in str(result.exception)


def test_markup_and_control_characters_of_strangers_are_shown_harmless(tmp_path: Path) -> None:
    path = folder(tmp_path, claims={"author": "[red]x[/red]\x1b[31m"})
    output = run(path).output
    assert "[red]x[/red]" in output and "\x1b" not in output

"""`harness report`, `compare` and `board`, as a shell calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli import cli
from harness.errors import UsageError
from tests.report import records


def harness(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, record in (("good", records.passing()), ("bad", records.failing())):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "record.json").write_text(record.to_json())
    return tmp_path


@pytest.mark.parametrize(
    ("view", "name", "begins"),
    [
        ("html", "report.html", "<!doctype html>"),
        ("md", "summary.md", "## ❌ INVALID"),
        ("junit", "junit.xml", "<?xml"),
        ("sarif", "results.sarif", "{"),
        ("badge", "badge.svg", "<svg"),
    ],
)
def test_every_view_is_written_beside_the_record_or_printed(folder: Path, view: str, name: str, begins: str) -> None:
    done = harness("report", folder / "runs/bad", "--format", view)
    written = folder / "runs/bad" / name
    assert done.exit_code == 0 and done.stdout.strip() == str(written)
    assert written.read_text().lstrip().startswith(begins)
    printed = harness("report", folder / "runs/bad/record.json", "--format", view, "--out", "-")
    assert printed.exit_code == 0 and printed.stdout == written.read_text()


def test_two_records_are_compared_in_the_terminal_and_on_a_page(folder: Path) -> None:
    done = harness("compare", folder / "runs/good", folder / "runs/bad", "--out", folder / "both.html")
    assert done.exit_code == 0 and "causality" in done.stdout and "both.html" in done.stdout
    assert "Two records" in (folder / "both.html").read_text()


def test_a_board_is_built_from_kept_records_and_links_to_their_reports(folder: Path) -> None:
    kept = folder / "reports" / "records"
    kept.mkdir(parents=True)
    (kept / "a b.json").write_text(records.passing().to_json())
    (folder / "reports" / "a b.html").write_text("a report")
    done = harness("board", kept, "--out", folder / "reports/index.html", "--csv", folder / "board.csv")
    assert done.exit_code == 0 and done.stdout == f"{folder}/reports/index.html: 1 record\n"
    assert 'href="./a%20b.html"' in (folder / "reports/index.html").read_text()
    assert (folder / "board.csv").read_text().startswith("name,author,track")
    done = harness("board", folder / "runs", "--out", folder / "index.html")
    assert done.exit_code == 0 and "2 records" in done.stdout


def test_a_place_without_records_is_named(tmp_path: Path) -> None:
    done = harness("board", tmp_path, "--out", tmp_path / "index.html")
    assert isinstance(done.exception, UsageError) and f"no record in {tmp_path}" in str(done.exception)
    assert not (tmp_path / "index.html").exists()


def test_a_record_of_before_there_were_curves_is_read_and_rendered(tmp_path: Path) -> None:
    """Files of the first schema lack what figures were added for; they are as good as ever, digest included."""
    older = json.loads(records.failing().to_json())
    del older["score"]["nll"], older["score"]["honest_bpb"]["gaps"], older["timing"]["started"]
    older["artifact"]["payload"] = {}
    body = records.Record.model_validate(older).sealed()
    text = json.loads(body.to_json())
    del text["score"]["nll"]
    (tmp_path / "record.json").write_text(json.dumps(text))
    assert records.Record.load(tmp_path).digest == records.Record.load(tmp_path).computed_digest()
    assert harness("report", tmp_path).exit_code == 0
    page = (tmp_path / "report.html").read_text()
    assert "changed after it was written" not in page and "not recorded" in page

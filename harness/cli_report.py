"""`harness report`, `harness compare` and `harness board`: the views of records that are already there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

import click
from rich.console import Console

from harness import rules
from harness.errors import HarnessError, UsageError
from harness.record import Record
from harness.report import badge, board, compare, html, junit, markdown, sarif
from harness.report.board import Entry
from harness.report.page import write_text

#: Where a checkout keeps the records of its reports, and where runs leave theirs.
KEPT, RUNS = Path("reports/records"), Path("runs")

_HELP = {"help_option_names": ["-h", "--help"]}

#: Every view of one record: how it is made, and what its file is called beside the record.
VIEWS: dict[str, tuple[Callable[[Record], str], str]] = {
    "html": (lambda record: html.render(record, rule_texts(record)), "report.html"),
    "md": (markdown.render, "summary.md"),
    "junit": (junit.render, "junit.xml"),
    "sarif": (sarif.render, "results.sarif"),
    "badge": (badge.render, "badge.svg"),
}


@click.command("report", context_settings=_HELP)
@click.argument("record", type=click.Path(path_type=Path))
@click.option("--format", "view", type=click.Choice(list(VIEWS)), default="html", show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    help="The file; - prints it.  [default: beside the record]",
)
def report_command(record: Path, view: str, out: Path | None) -> None:
    """Render RECORD, a record.json or the folder that holds one.

    html is the report; md a job's summary; junit test cases, one for each check; sarif what has a file and a line;
    badge an SVG with verdict and score.
    """
    make, name = VIEWS[view]
    target = out or (record if record.is_dir() else record.parent) / name
    loaded = Record.load(record)
    if str(target) == "-":
        click.echo(make(loaded), nl=False)
    elif view == "html":
        html.write(loaded, target, rule_texts(loaded))
        click.echo(str(target))
    else:
        write_text(target, make(loaded))
        click.echo(str(target))


@click.command("compare", context_settings=_HELP)
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write an HTML page there as well.")
def compare_command(first: Path, second: Path, out: Path | None) -> None:
    """Show the records FIRST and SECOND side by side: what differs, and whether one beats the other."""
    left, right = Record.load(first), Record.load(second)
    compare.show(left, right, Console())
    if out is not None:
        write_text(out, compare.render(left, right))
        click.echo(f"\npage      {out}")


@click.command("board", context_settings=_HELP)
@click.argument("records", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("reports/index.html"), show_default=True, help="The page."
)
@click.option("--csv", type=click.Path(path_type=Path), help="Write the same data there as CSV.")
def board_command(records: tuple[Path, ...], out: Path, csv: Path | None) -> None:
    """Build the leaderboard from RECORDS: files, or folders with a record.json or with records in them.

    Without RECORDS it takes reports/records/*.json, or what lies under runs/ where there is none.
    """
    paths = find(records or ((KEPT,) if KEPT.is_dir() else (RUNS,)))
    entries = [Entry(Record.load(path), link(path, out)) for path in paths]
    write_text(out, board.render(entries))
    if csv is not None:
        write_text(csv, board.to_csv(entries))
    click.echo(f"{out}: {len(entries)} {'record' if len(entries) == 1 else 'records'}")


def find(places: Sequence[Path]) -> list[Path]:
    """The record files that these files and folders stand for, each once, in the order given.

    Raises:
        UsageError: a place holds no record.
    """
    found: list[Path] = []
    for place in places:
        if not place.is_dir():
            inside = [place]
        elif (place / "record.json").is_file():
            inside = [place / "record.json"]
        else:
            inside = sorted(place.glob("*.json")) or sorted(place.glob("**/record.json"))
        if not inside:
            raise UsageError(f"no record in {place}; `harness run SUBMISSION --out DIR` writes one")
        found += inside
    return list(dict.fromkeys(found))


def link(path: Path, page: Path) -> str | None:
    """The address of a record's own report, relative to a page; None where there is no report beside either."""
    beside = page.parent / f"{path.stem}.html" if path.name != "record.json" else path.parent / "report.html"
    if not beside.is_file() or beside.resolve() == page.resolve():
        return None
    way = os.path.relpath(beside.resolve(), page.parent.resolve())
    return "./" + quote(Path(way).as_posix())


def rule_texts(record: Record) -> dict[str, str]:
    """The texts of the rules that a record was judged by, where the same ruleset is at hand."""
    try:
        ruleset = rules.load(record.ruleset.name)
    except HarnessError:
        return {}
    return {name: rule.text for name, rule in ruleset.rule.items()} if ruleset.sha256 == record.ruleset.sha256 else {}


#: What cli.py adds.
COMMANDS = (report_command, compare_command, board_command)

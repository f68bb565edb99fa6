"""`harness board`: the leaderboard of records."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import click

from harness.cli.options import FILE, RUNS
from harness.errors import UsageError
from harness.files import write_atomically
from harness.record import Record
from harness.report import board, view
from harness.report.board import Entry
from harness.text import plain

#: Where a checkout keeps the records of its reports.
KEPT = Path("reports/records")


@click.command("board")
@click.argument("records", nargs=-1, type=FILE)
@click.option("--out", type=FILE, default=Path("reports/index.html"), show_default=True, help="The page.")
@click.option("--csv", type=FILE, help="Write the same data there as CSV.")
def command(records: tuple[Path, ...], out: Path, csv: Path | None) -> None:
    """Build the leaderboard from RECORDS: files, or folders with a record.json or with records in them.

    Without RECORDS it takes reports/records/*.json, or what lies under runs/ where there is none.
    """
    paths = find(records or ((KEPT,) if KEPT.is_dir() else (RUNS,)))
    entries = [Entry(Record.load(path), link(path, out)) for path in paths]
    write_atomically(out, board.render(entries).encode())
    if csv is not None:
        write_atomically(csv, board.to_csv(entries).encode())
    click.echo(f"{out}: {len(entries)} {'record' if len(entries) == 1 else 'records'}")
    for path, entry in zip(paths, entries, strict=True):
        for doubt in view.doubts(entry.record):
            click.echo(f"warning: {plain(path, 400)} has no rank: {doubt}", err=True)


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

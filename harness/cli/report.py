"""`harness report`: a view of a record that is already there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from harness.cli.options import FILE
from harness.errors import HarnessError
from harness.record import PLACES, Record
from harness.report import badge, html, junit, markdown, sarif
from harness.report.page import write_text

#: Every view of one record: how it is made, and what its file is called beside the record.
VIEWS: dict[str, tuple[Callable[[Record], str], str]] = {
    "html": (lambda record: html.render(record, rule_texts(record)), "report.html"),
    "md": (markdown.render, "summary.md"),
    "junit": (junit.render, "junit.xml"),
    "sarif": (sarif.render, "results.sarif"),
    "badge": (badge.render, "badge.svg"),
}


@click.command("report")
@click.argument("record", type=FILE)
@click.option("--format", "view", type=click.Choice(list(VIEWS)), default="html", show_default=True, help="Which view.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    help="The file; - prints it.  [default: beside the record]",
)
def command(record: Path, view: str, out: Path | None) -> None:
    """Render RECORD, a record.json or the folder that holds one.

    html is the report; md a job's summary; junit test cases, one for each check; sarif what has a file and a line;
    badge an SVG with verdict and score.
    """
    make, name = VIEWS[view]
    target = out or (record if record.is_dir() else record.parent) / name
    loaded = Record.load(record)
    if PLACES in loaded.environment:  # the command in a view names the record where it is now
        loaded = loaded.placed(record / "record.json" if record.is_dir() else record)
    if str(target) == "-":
        click.echo(make(loaded), nl=False)
    elif view == "html":
        html.write(loaded, target, rule_texts(loaded))
        click.echo(str(target))
    else:
        write_text(target, make(loaded))
        click.echo(str(target))


def rule_texts(record: Record) -> dict[str, str]:
    """The texts of the rules that a record was judged by: its own, or where the same ruleset is at hand."""
    try:
        return {name: rule.text for name, rule in record.ruleset.load().rule.items()}
    except HarnessError:
        return {}

"""`harness report`: a view of a record that is already there."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import FILE
from harness.record import PLACES, Record
from harness.report import formats
from harness.report.formats import VIEWS


@click.command("report", epilog=f"Formats: {'; '.join(f'{name} is {one.what}' for name, one in VIEWS.items())}.")
@click.argument("record", type=FILE)
@click.option("--format", "view", type=click.Choice(list(VIEWS)), default="html", show_default=True, help="Which view.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    help="The file; - prints it.  [default: beside the record]",
)
def command(record: Path, view: str, out: Path | None) -> None:
    """Render RECORD, a record.json or the folder that holds one."""
    target = out or (record if record.is_dir() else record.parent) / VIEWS[view].file
    loaded = Record.load(record)
    if PLACES in loaded.environment:  # the command in a view names the record where it is now
        loaded = loaded.placed(record / "record.json" if record.is_dir() else record)
    if str(target) == "-":
        click.echo(formats.render(view, loaded), nl=False)
    else:
        formats.write(view, loaded, target)
        click.echo(str(target))

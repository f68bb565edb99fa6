"""`harness compare`: two records side by side."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from harness.cli.options import FILE
from harness.files import write_atomically
from harness.record import Record
from harness.report import compare


@click.command("compare")
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@click.option("--out", type=FILE, help="Write an HTML page there as well.")
def command(first: Path, second: Path, out: Path | None) -> None:
    """Show the records FIRST and SECOND side by side: what differs, and whether one beats the other."""
    left, right = Record.load(first), Record.load(second)
    compare.show(left, right, Console())
    if out is not None:
        write_atomically(out, compare.render(left, right).encode())
        click.echo(f"\npage      {out}")

"""`harness attest`: a statement about a run that others can sign."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import FILE
from harness.files import write_atomically
from harness.report.attest import statement, to_bytes


@click.command("attest")
@click.argument("run", type=click.Path(path_type=Path, file_okay=False), metavar="RUN_DIR")
@click.option("--out", type=FILE, help="The file to write.  [default: RUN_DIR/verdict.intoto.json]")
def command(run: Path, out: Path | None) -> None:
    """Write an unsigned in-toto Statement over the artifact, record and report in RUN_DIR.

    The same folder gives the same bytes. To sign it, for instance:
    `cosign attest-blob --statement runs/NAME/verdict.intoto.json ...`.
    """
    target = out or run / "verdict.intoto.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, to_bytes(statement(run)))
    click.echo(str(target))

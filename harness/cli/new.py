"""`harness new`: a submission to start from."""

from __future__ import annotations

import click

from harness.adapters.scaffold import scaffold
from harness.cli import completing
from harness.cli.options import SUBMISSIONS


@click.command("new")
@click.argument("name")
@click.option("--author", default="Your Name", show_default=True, help="For its submission.json.")
@click.option("--github-id", default="your-github-id", show_default=True, help="Likewise.")
@click.option("--from", "source", metavar="EXAMPLE", shell_complete=completing.examples_alone,
              help="Begin with a submission that ships with the harness.")  # fmt: skip
def command(name: str, author: str, github_id: str, source: str | None) -> None:
    """Scaffold a working submission under submissions/NAME."""
    path = scaffold(SUBMISSIONS, name, author=author, github_id=github_id, source=source)
    click.echo(f"{path.as_posix()} is ready; try: harness run {path.as_posix()}")

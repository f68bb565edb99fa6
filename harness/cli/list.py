"""`harness list`: what is here."""

from __future__ import annotations

from pathlib import Path

import click

from harness import audit, rules
from harness.cli.options import SUBMISSIONS
from harness.errors import HarnessError
from harness.folder import open_folder


@click.command("list")
def command() -> None:
    """List the submissions under submissions/, and the checks."""
    for path in all_submissions():
        try:
            folder = open_folder(path)
            click.echo(f"{path.as_posix():40s} {folder.metadata.name}")
        except HarnessError as error:
            click.echo(f"{path.as_posix():40s} broken: {error}")
    click.echo(f"\nchecks: {', '.join(audit.CHECKS)}\nrulesets: {', '.join(rules.available())}")


def all_submissions() -> list[Path]:
    """Folders under submissions/, by name.

    Raises:
        ClickException: there are none here.
    """
    found = sorted(path for path in SUBMISSIONS.glob("*") if path.is_dir() and not path.name.startswith((".", "_")))
    if not found:
        raise click.ClickException("no folder submissions/ here; run this in a checkout, or name a submission")
    return found

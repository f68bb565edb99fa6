"""`harness list`: what is here."""

from __future__ import annotations

from pathlib import Path

import click

from harness import rules
from harness.audit.checks import CHECKS
from harness.cli.options import SUBMISSIONS
from harness.environment import examples
from harness.errors import HarnessError
from harness.folder import open_folder


@click.command("list")
def command() -> None:
    """List the submissions under submissions/, and the checks."""
    for path in all_submissions(missing=[]):
        try:
            folder = open_folder(path)
            click.echo(f"{path.as_posix():40s} {folder.metadata.name}")
        except HarnessError as error:
            click.echo(f"{path.as_posix():40s} broken: {error}")
    home = examples()
    shipped = sorted(one.name for one in home.iterdir() if (one / "submission.py").is_file()) if home else []
    click.echo(f"\nexamples, as in `harness run example:NAME`: {', '.join(shipped) or 'none'}")
    click.echo(f"checks: {', '.join(CHECKS)}\nrulesets: {', '.join(rules.available())}")


def all_submissions(missing: list[Path] | None = None) -> list[Path]:
    """Folders under submissions/, by name; `missing` where there are none.

    Raises:
        ClickException: there are none here, and nothing to give instead.
    """
    found = sorted(path for path in SUBMISSIONS.glob("*") if path.is_dir() and not path.name.startswith((".", "_")))
    if not found and missing is not None:
        return missing
    if not found:
        raise click.ClickException("no folder submissions/ here; run this in a checkout, or name a submission")
    return found

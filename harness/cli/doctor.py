"""`harness doctor`: what this machine can do."""

from __future__ import annotations

import click

from harness.doctor import examine


@click.command("doctor")
def command() -> None:
    """Say what this machine can do: sandbox, GPU, optional packages."""
    healthy = True
    for line in examine():
        click.echo(f"{'ok  ' if line.good else 'NO  ' if line.needed else '-   '} {line.name:22s} {line.text}")
        healthy &= line.good or not line.needed
    raise SystemExit(0 if healthy else 4)

"""`harness init`: what a repository needs to be judged, written into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from harness.cli.options import FILE
from harness.errors import UsageError
from harness.gate import setup
from harness.gate.result import Tier


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option("--repo", type=FILE, default=Path(), help="The repository's root.  [default: here]"),
            click.option("--harness", metavar="OWNER/NAME", help="Where the harness is.  [default: as installed]"),
            click.option("--commit", metavar="SHA", help="Which harness.  [default: the one that runs]"),
            click.option("--force", is_flag=True, help="Replace files that say something else."),
        )
    ):
        command = option(command)
    return command


@click.group("init")
def command() -> None:
    """Write what a repository needs to be judged: the gate's workflows, or the hook before a commit."""


@command.command("gate")
@_options
@click.option("--tier", type=click.Choice([tier for tier in get_args(Tier) if tier != "papers"]), default="full",
              show_default=True,
              help="quick: papers, files, one evaluation; full: then the whole audit.")  # fmt: skip
@click.option("--torch-index", default="", metavar="URL", help="Package index with a build of torch for CPUs.")
def gate(repo: Path, harness: str | None, commit: str | None, force: bool, tier: str, torch_index: str) -> None:
    """Write both workflows of the gate, with the harness pinned by commit, and say what to set up on GitHub."""
    where = setup.source(harness, commit)
    for path in setup.write(setup.gate(where, tier=tier, torch_index=torch_index), repo, force=force):
        click.echo(f"wrote     {path.as_posix()}")
    click.echo(f"harness   {where.repository} at {where.commit}")
    click.echo("commit both to the default branch; then, in the repository's settings:")
    click.echo("  1. Rules: make the check `gate` a required one for the default branch.")
    click.echo("  2. Rules: have changes of .github/ reviewed by a code owner (CODEOWNERS: `/.github/ @you`).")
    click.echo("  3. Actions: approve workflows of first-time contributors by hand.")


@command.command("pre-commit")
@_options
def hook(repo: Path, harness: str | None, commit: str | None, force: bool) -> None:
    """Write .pre-commit-config.yaml with the hook that lints submissions before they are committed."""
    where = setup.source(harness, commit)
    files = setup.hook(where)
    try:
        (path,) = setup.write(files, repo, force=force)
    except UsageError as error:
        if "--force" not in str(error):
            raise
        (text,) = files.values()
        raise UsageError(f"{error}, or add to its list:\n{text.partition(chr(10))[2].rstrip()}") from None
    click.echo(f"wrote     {path.as_posix()}")
    click.echo("now: pre-commit install")

"""`harness explain`: what a check asks, by which rule, how it is made, and what it may find."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from harness import audit
from harness.audit.check import REGISTRY, Provider, explained
from harness.cli.options import RulesetOptions, takes
from harness.files import write_atomically
from harness.papers import linting
from harness.scripts.checks import judging

#: Who makes checks, by what it is called in documents.
COLLECTORS: dict[str, Mapping[str, Provider[Any]]] = {
    "Of a submission with a submission.py": audit.CHECKS,
    "Of an unmodified train_gpt.py": judging.CHECKS,
    "Of a folder's papers": linting.CHECKS,
}


@click.command("explain")
@click.argument("checks", nargs=-1, metavar="CHECK...")
@takes(rules=RulesetOptions)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write one file for each instead."
)
def command(checks: tuple[str, ...], rules: RulesetOptions, out: Path | None) -> None:
    """Explain checks: the rule, the practices that they may find, and how each is made.

    Without CHECK, all of them. docs/checks/ is made by `harness explain --out docs/checks`.
    """
    loaded = rules.load()
    for name in checks or REGISTRY:
        text = explained(name, loaded, COLLECTORS)
        if out is None:
            click.echo(text)
            continue
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / f"{name}.md", text.encode())

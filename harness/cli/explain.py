"""`harness explain`: what a check asks, by which rule, how it is made, and what it may find."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from harness import audit
from harness.audit.check import REGISTRY, Provider, explained
from harness.cli.options import RulesetOptions, takes
from harness.errors import UsageError
from harness.files import write_atomically
from harness.papers import linting
from harness.report.glossary import document, glossary
from harness.scripts.checks import judging

#: Who makes checks, by what it is called in documents.
COLLECTORS: dict[str, Mapping[str, Provider[Any]]] = {
    "Of a submission with a submission.py": audit.CHECKS,
    "Of an unmodified train_gpt.py": judging.CHECKS,
    "Of a folder's papers": linting.CHECKS,
}


@click.command("explain")
@click.argument("names", nargs=-1, metavar="NAME...")
@takes(rules=RulesetOptions)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write one file for each instead."
)
def command(names: tuple[str, ...], rules: RulesetOptions, out: Path | None) -> None:
    """Explain checks, and words of the reports.

    Of a check: its rule, the practices that it may find, the smallest offence that it sees, an example, how it is made,
    and what it does not cover. Without NAME, all checks, and with --out the glossary beside them: docs/checks/ and
    docs/glossary.md are made by `harness explain --out docs/checks`.
    """
    loaded = rules.load()
    words = {name.lower(): name for name in glossary()}
    for name in names or REGISTRY:
        if name not in REGISTRY and name.lower() in words:
            text = f"# {words[name.lower()]}\n\n{glossary()[words[name.lower()]]}\n"
        elif name not in REGISTRY:
            close = difflib.get_close_matches(name.lower(), [*REGISTRY, *words], n=1)
            hint = f"; did you mean {words.get(close[0], close[0])}?" if close else ""
            raise UsageError(f"no check and no word {name!r}{hint} Checks: {', '.join(REGISTRY)}")
        else:
            text = explained(name, loaded, COLLECTORS)
        if out is None:
            click.echo(text)
            continue
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / f"{name}.md", text.encode())
    if out is not None and not names:
        write_atomically(out.parent / "glossary.md", document().encode())

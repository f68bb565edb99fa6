"""`harness explain`: what a check asks, by which rule, how it is made, and what it may find."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from harness.audit.check import REGISTRY, Provider, explained
from harness.audit.checks import CHECKS
from harness.cli.options import RulesetOptions, takes
from harness.errors import UsageError
from harness.files import write_atomically
from harness.papers import linting, reasons
from harness.report.glossary import document, glossary
from harness.scripts.checks import judging
from harness.text import meant

#: Who makes checks, by what it is called in documents.
COLLECTORS: dict[str, Mapping[str, Provider[Any]]] = {
    "Of a submission with a submission.py": CHECKS,
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
    """Explain checks, words of the reports, and reasons.

    Of a check: its rule, the practices that it may find, the smallest offence that it sees, an example, how it is made,
    and what it does not cover. Without NAME, all checks, and with --out the glossary beside them: docs/checks/ and
    docs/glossary.md are made by `harness explain --out docs/checks`, and docs/reasons.md.
    """
    loaded = rules.load()
    words = {name.lower(): name for name in glossary()}
    for name in names or REGISTRY:
        if name not in REGISTRY and name.lower() in words:
            text = f"# {words[name.lower()]}\n\n{glossary()[words[name.lower()]]}\n"
        elif name not in REGISTRY and (reason := reasons.known().get(name.lower())) is not None:
            text = reasons.explained(reason)
        elif name not in REGISTRY:
            hint = meant(name, [*REGISTRY, *words.values(), *reasons.known()]) or ";"
            raise UsageError(f"no check, word or reason {name!r}{hint} checks: {', '.join(REGISTRY)}")
        else:
            text = explained(name, loaded, COLLECTORS)
        if out is None:
            click.echo(text)
            continue
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / f"{name}.md", text.encode())
    if out is not None and not names:
        write_atomically(out.parent / "glossary.md", document().encode())
        write_atomically(out.parent / "reasons.md", reasons.document().encode())

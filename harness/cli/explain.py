"""`harness explain`: what a check, a rule, a practice, a violation, a reason or a word of the reports means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harness import rules as rulesets
from harness.audit import rulebook, violations
from harness.audit.check import REGISTRY, Provider, explained
from harness.audit.checks import CHECKS
from harness.cli import completing
from harness.cli.options import RulesetOptions, takes
from harness.errors import UsageError
from harness.files import write_atomically
from harness.papers import linting, reasons
from harness.report import glossary
from harness.rules import Ruleset
from harness.scripts.checks import judging
from harness.text import meant

#: Who makes checks, by what it is called in documents.
COLLECTORS: dict[str, Mapping[str, Provider[Any]]] = {
    "Of a submission with a submission.py": CHECKS,
    "Of an unmodified train_gpt.py": judging.CHECKS,
    "Of a folder's papers": linting.CHECKS,
}


@dataclass(frozen=True)
class Book:
    """One kind of thing that can be explained: its names, and the page of each."""

    kind: str
    names: Iterable[str]
    page: Callable[[str], str]


def books(ruleset: Ruleset) -> list[Book]:
    """Everything that can be explained, in the order in which a name that means several things is told."""
    classes, words = violations.names(), glossary.glossary()
    return [
        Book("checks", REGISTRY, lambda name: explained(name, ruleset, COLLECTORS)),
        Book("rules", ruleset.rule, lambda name: rulebook.rule(name, ruleset)),
        Book("practices", ruleset.practice, lambda name: rulebook.practice(name, ruleset)),
        Book("violations", classes, lambda name: rulebook.violation(violations.known()[classes[name]], ruleset)),
        Book("reasons", reasons.known(), lambda name: reasons.explained(reasons.known()[name])),
        Book("words", words, lambda name: f"# {name}\n\n{words[name]}\n"),
    ]


def pages(name: str, shelf: list[Book]) -> list[str]:
    """The pages of a name, whatever its case where nothing is called just so; none where it is unknown."""
    for same in (str, str.lower):
        found = [book.page(one) for book in shelf for one in book.names if same(one) == same(name)]
        if found:
            return found
    return []


def _offered(_: click.Context, __: click.Parameter, incomplete: str) -> completing.Items:
    """What a shell is offered after Tab."""
    return completing.named({name: "" for book in books(rulesets.load()) for name in book.names}, incomplete)


@click.command("explain")
@click.argument("names", nargs=-1, metavar="NAME...", shell_complete=_offered)
@takes(rules=RulesetOptions)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write one file for each instead."
)
def command(names: tuple[str, ...], rules: RulesetOptions, out: Path | None) -> None:
    """Explain a check, rule, practice, violation, reason or word.

    A violation is a class such as V10 or shared-delta, with a real case, the smallest code that does it, the same
    mended, and how to mend a submission. Of a check: its rule, the practices that it may find, the smallest offence
    that it sees, how it is made, and what it does not cover. A name that means several things gets several pages.

    Without NAME, everything that can be explained is listed; with --out, all pages of the documents are written:
    docs/checks/, and docs/violations/, docs/rules.md, docs/reasons.md and docs/glossary.md beside it, are made by
    `harness explain --out docs/checks`.
    """
    loaded = rules.load()
    shelf = books(loaded)
    found = {name: pages(name, shelf) for name in names}
    for name, told in found.items():
        if not told:
            hint = meant(name, {one for book in shelf for one in book.names})
            raise UsageError(f"no check, rule, practice, violation, reason or word {name!r}{hint or _LISTED}")
    if out is None:
        texts = ["\n".join(told) for told in found.values()] or [_contents(shelf)]
        click.echo("\n".join(texts), nl=False)
        return
    written = {f"{name}.md": "\n".join(told) for name, told in found.items()} or _documents(loaded)
    for path, text in written.items():
        place = out / path
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, text.encode())


_LISTED = "; `harness explain` lists them"


def _contents(shelf: list[Book]) -> str:
    return "".join(f"{book.kind}: {', '.join(book.names)}\n" for book in shelf)


def _documents(ruleset: Ruleset) -> dict[str, str]:
    """What docs/ holds of all this, by path from docs/checks."""
    made = {f"{name}.md": explained(name, ruleset, COLLECTORS) for name in REGISTRY}
    for one in violations.known().values():
        made[f"../violations/{one.id}.md"] = rulebook.violation(one, ruleset)
    made["../violations/index.md"] = rulebook.index()
    made["../rules.md"] = rulebook.document(ruleset)
    made["../reasons.md"] = reasons.document()
    made["../glossary.md"] = glossary.document()
    return made

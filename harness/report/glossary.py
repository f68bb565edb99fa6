"""Words that a report uses: what each means, as a tooltip where it stands, and as a list.

The list is one file, from which docs/glossary.md is made as well.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources

from markupsafe import Markup, escape


@cache
def glossary() -> dict[str, str]:
    """What each word means, by the word."""
    return {name: one["text"] for name, one in _entries().items()}


def glossed(text: str) -> Markup:
    """Plain text as HTML; each word of the glossary is an `<abbr>` with its meaning where it first stands."""
    names, words, seen, out, at = _forms(), glossary(), set(), [], 0
    for found in _pattern().finditer(text):
        name = names[found.group().lower()]
        if name in seen:
            continue
        seen.add(name)
        out.append(escape(text[at : found.start()]))
        out.append(Markup('<abbr title="{}">{}</abbr>').format(words[name], found.group()))
        at = found.end()
    return Markup("").join([*out, escape(text[at:])])


def used(texts: list[str]) -> dict[str, str]:
    """The words that stand in any of some texts, with their meanings, in the order of the alphabet."""
    names, words = _forms(), glossary()
    seen = {names[found.group().lower()] for text in texts for found in _pattern().finditer(text)}
    return {name: words[name] for name in sorted(seen, key=str.lower)}


def document() -> str:
    """docs/glossary.md."""
    lines = [
        "# Glossary",
        "",
        "Words of reports and messages, and what they mean here.",
        "",
        "| word | what it means |",
    ]
    lines += ["|---|---|", *(f"| {name} | {glossary()[name]} |" for name in sorted(glossary(), key=str.lower))]
    return "\n".join(lines) + "\n"


@cache
def _entries() -> dict[str, dict[str, str]]:
    content = resources.files("harness.report").joinpath("glossary.toml").read_text(encoding="utf-8")
    return tomllib.loads(content)


@cache
def _forms() -> dict[str, str]:
    """The word that each spelling, in small letters, stands for."""
    return {form.lower(): name for name, one in _entries().items() for form in (name, *one.get("forms", ()))}


@cache
def _pattern() -> re.Pattern[str]:
    """Any spelling as a whole word, longest first. Words in capitals count only so: "pass" is no PASS."""
    spelled = [form for name, one in _entries().items() for form in (name, *one.get("forms", ()))]
    parts = [
        re.escape(form) if form.isupper() else f"(?i:{re.escape(form)})"
        for form in sorted(spelled, key=len, reverse=True)
    ]
    return re.compile(rf"(?<![\w-])(?:{'|'.join(parts)})(?![\w-])")

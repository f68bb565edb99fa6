"""Rules, practices and classes of violations as pages: what `harness explain` prints, and docs are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness import rules
from harness.audit import violations
from harness.audit.check import REGISTRY
from harness.audit.violations import Example, Violation
from harness.rules import Practice, Ruleset

_NOTE = "nothing against it; the finding names it, and the verdict stays"
_CONTEST = "https://github.com/openai/parameter-golf/pull/"
#: "#1234", but not that of another repository.
_NUMBER = re.compile(r"(?<![\w/])#(\d+)\b")


def rule(name: str, ruleset: Ruleset) -> str:
    """A rule: its text, what helps, who asks for it, what breaks it, and where shipped rulesets say otherwise."""
    one = ruleset.rule[name]
    lines = [f"# Rule {name}: {one.title}", "", f"{one.text} ({one.source})", "", f"Remedy: {one.remedy}", ""]
    lines += [f"Ruleset {ruleset.name}: {ruleset.title}.", ""]
    checks = [check.id for check in REGISTRY.values() if check.rule == name]
    practices = [key for key, how in ruleset.practice.items() if how.rule == name]
    lines += _listed("Checks that ask for it", (f"`{check}`: {REGISTRY[check].asks}" for check in checks))
    taken = (f"`{key}`, {ruleset.practice[key].ruling}: {ruleset.practice[key].title}" for key in practices)
    lines += _listed("Practices", taken)
    lines += _listed("Violations of it", (f"{one.id}: {one.title}" for one in violations.of_rule(name)))
    others = [(other, other.rule[name]) for other in _others(ruleset) if name in other.rule]
    lines += _listed("Elsewhere", (f"{other.name}: {said.text}" for other, said in others if said.text != one.text))
    return "\n".join(lines).rstrip() + "\n"


def practice(name: str, ruleset: Ruleset) -> str:
    """A practice: how each shipped ruleset takes it and why, rulings on it, and which checks may find it."""
    one = ruleset.practice[name]
    lines = [f"# Practice {name}", "", f"{one.title}.", "", f"* Rule {one.rule}, {ruleset.rule[one.rule].title}"]
    taken: dict[str, list[str]] = {}
    for each in (ruleset, *_others(ruleset)):
        how = each.practice[name]
        taken.setdefault(f"**{how.ruling}**. {_because(how)}", []).append(each.name)
    lines += [*(f"* {', '.join(names)}: {said}" for said, names in taken.items()), ""]
    lines += _listed("Rulings", (ruling.cited for ruling in ruleset.ruling.values() if ruling.practice == name))
    found = (f"`{check.id}`: {check.asks}" for check in REGISTRY.values() if name in check.practices)
    lines += _listed("Checks that may find it", found)
    part = (f"{one.id}: {one.title}" for one in violations.of_practice(name))
    lines += _listed("Violations that it is part of", part)
    return "\n".join(lines).rstrip() + "\n"


def violation(one: Violation, ruleset: Ruleset) -> str:
    """A class of violations: what it is, a real case, the smallest code and its mended twin, how to mend it."""
    broken = ruleset.rule[one.rule]
    called = [*([one.name] if one.name != one.id else []), *one.also]
    lines = [f"# {one.id}: {one.title}", "", one.what, ""]
    lines += [f"* Also called {', '.join(called)}"] if called else []
    lines += [f"* Rule {one.rule}, {broken.title}: {broken.text}", f"* A real case: {_linked(one.case)}"]
    lines += ["* Caught by " + ", ".join(f"[{check}](../checks/{check}.md)" for check in one.checks)]
    for name in one.practices:
        how = ruleset.practice[name]
        lines += [f"* Practice `{name}` ({how.title}) is {how.ruling}: {_because(how)}"]
    lines.append("")
    for name in one.examples:
        lines += _shown(violations.examples()[name])
    lines += ["## How to mend it", "", *(f"{index}. {step}" for index, step in enumerate(one.mend, 1)), ""]
    lines += ["Look again: `harness audit DIR` runs a submission.py or train_gpt.py, `harness lint DIR` reads papers."]
    return "\n".join(lines).rstrip() + "\n"


def index() -> str:
    """docs/violations/index.md: all classes."""
    rows = (
        f"| [{one.id}]({one.id}.md) | {one.title} | {one.rule} | [{one.checks[0]}](../checks/{one.checks[0]}.md) |"
        for one in violations.known().values()
    )
    lines = [
        "# Violations",
        "",
        "What the contest has seen go wrong, class by class: a real case, the smallest code that does it, the same",
        "mended, and how to mend a submission. V and B number classes of violations and of byte errors.",
        "`harness explain V10`, or by its name `harness explain shared-delta`, prints a page.",
        "",
        "These pages are made by `harness explain --out docs/checks`, their code from the tests' own files.",
        "",
        "| class | what | rule | named by |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *rows]) + "\n"


def document(ruleset: Ruleset) -> str:
    """docs/rules.md: all rules and practices."""
    all_of_them = [ruleset, *_others(ruleset)]
    lines = [
        "# Rules and practices",
        "",
        f"Rules of {ruleset.name} ({ruleset.title}). `harness explain C1` says more of each,",
        "and where other rulesets differ. Rulesets are data, `harness/rules/*.toml`, and so are [rulings](rulings.md).",
        "This page is made by `harness explain --out docs/checks`.",
        "",
        "| rule | what it says | where from |",
        "|---|---|---|",
        *(f"| `{key}` | {one.title}. {one.text} | {one.source} |" for key, one in ruleset.rule.items()),
        "",
        "## Practices",
        "",
        "What evidence can establish, and how each ruleset takes it: forbidden (FAIL), tolerated (a note), or unruled",
        "([verdict.md](verdict.md)). `harness explain second_pass` gives reasons and sources.",
        "",
        f"| practice | rule | {' | '.join(one.name for one in all_of_them)} |",
        "|---|---|" + "---|" * len(all_of_them),
    ]
    for key, how in ruleset.practice.items():
        taken = " | ".join(one.practice[key].ruling for one in all_of_them)
        lines.append(f"| `{key}`: {how.title} | {how.rule} | {taken} |")
    return "\n".join(lines) + "\n"


def _shown(example: Example) -> list[str]:
    language = "python" if example.file.endswith(".py") else "sh"
    said = f"{example.says} {example.note}".rstrip()
    lines = [f"## The smallest code: {example.name}", "", said, ""]
    lines += [f"```{language}", *example.offender.rstrip().splitlines(), "```", ""]
    seen = f" ({example.seen})" if example.seen else ""
    lines += [f"The harness says: {', '.join(example.caught) or _NOTE}{seen}.", "", "Mended:", ""]
    lines += [f"```{language}", *example.mended.rstrip().splitlines(), "```", ""]
    lines += [f"The harness says: {', '.join(example.beside) or 'nothing against it'}.", "", "What differs:", ""]
    lines += ["```diff", *_differing(example), "```", ""]
    if example.helpers:
        told = "; ".join(f"`{name}`: {what[0].lower()}{what[1:]}" for name, what in example.helpers.items())
        lines += [f"From the tests: {told}.", ""]
    return [*lines, f"Made from `{example.file}`.", ""]


def _differing(example: Example) -> list[str]:
    marks = {"  # offender": "-", "  # neighbour": "+"}
    return [
        sign + line.removesuffix(mark)
        for line in example.code.splitlines()
        for mark, sign in marks.items()
        if line.endswith(mark)
    ]


def _linked(text: str) -> str:
    return _NUMBER.sub(lambda found: f"[#{found[1]}]({_CONTEST}{found[1]})", text)


def _because(how: Practice) -> str:
    return f"{how.text} ({how.source})"


def _listed(title: str, items: Iterable[str]) -> list[str]:
    found = [f"* {item}" for item in items]
    return [f"## {title}", "", *found, ""] if found else []


def _others(ruleset: Ruleset) -> list[Ruleset]:
    """The other rulesets that ship with the harness."""
    return [rules.load(name) for name in rules.available() if name != ruleset.name]

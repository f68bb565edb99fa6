"""Classes of violations that the contest has seen, and the smallest code of each with its mended twin.

Two files of data: what is said of a class is written in violations.toml. The code is the tests' own, and examples.toml
is made from it (`python -m tests.zoo.examples`), so that an installed harness has it without the tests.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, Field


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Violation(_Table):
    """One class.

    Attributes:
        id: "V4", or its name where it has no number.
        name: in words.
        also: other ids that it is known by.
        title: for people.
        rule: id of the rule that it breaks.
        what: two sentences.
        case: a real one, with its number.
        checks: ids of those that catch it, the one that names it first.
        practices: of the rulesets, that decide how it is taken.
        examples: names in `examples()`.
        mend: steps.
    """

    id: str
    name: str = Field(min_length=1)
    also: tuple[str, ...] = ()
    title: str = Field(min_length=1)
    rule: str
    what: str = Field(min_length=1)
    case: str = Field(min_length=1)
    checks: tuple[str, ...] = Field(min_length=1)
    practices: tuple[str, ...] = ()
    examples: tuple[str, ...] = Field(min_length=1)
    mend: tuple[str, ...] = Field(min_length=1)


class Example(_Table):
    """An offender and its mended twin.

    Attributes:
        name: of the file.
        file: where it is in the repository.
        says: what the two sides do, one sentence.
        note: what else is to be known of it; "" for nothing.
        code: both sides in one: lines that end in "# offender" or "# neighbour" are that side's.
        helpers: names that the code takes from elsewhere in the tests, and what each does.
        caught: what the checks say of the offender, "causality FAIL"; nothing where it is a note.
        beside: what they say of the twin, where that is not all PASS.
        seen: sizes of what was seen, "0.449 nats moved".
    """

    name: str
    file: str
    says: str
    note: str = ""
    code: str
    helpers: dict[str, str] = Field(default_factory=dict)
    caught: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    seen: str = ""

    @property
    def offender(self) -> str:
        """The code that offends."""
        return self._side("offender", "neighbour")

    @property
    def mended(self) -> str:
        """The same without the offence."""
        return self._side("neighbour", "offender")

    def _side(self, own: str, other: str) -> str:
        kept = [line for line in self.code.splitlines() if not line.endswith(f"  # {other}")]
        return "".join(f"{line.removesuffix(f'  # {own}')}\n" for line in kept)


@cache
def known() -> dict[str, Violation]:
    """All classes by id, in the order of the file."""
    found = (Violation.model_validate({"id": key, "name": key, **one}) for key, one in _read("violations.toml").items())
    return {one.id: one for one in found}


@cache
def names() -> dict[str, str]:
    """The id of the class by whatever it is called: id, name, other ids."""
    return {name: one.id for one in known().values() for name in (one.id, one.name, *one.also)}


@cache
def examples() -> dict[str, Example]:
    """All examples by name."""
    return {key: Example.model_validate({"name": key, **one}) for key, one in _read("examples.toml").items()}


def of_check(check: str) -> list[Violation]:
    """Those that a check catches."""
    return [one for one in known().values() if check in one.checks]


def of_rule(rule: str) -> list[Violation]:
    """Those that break a rule."""
    return [one for one in known().values() if one.rule == rule]


def of_practice(practice: str) -> list[Violation]:
    """Those that a practice is part of."""
    return [one for one in known().values() if practice in one.practices]


def _read(file: str) -> dict[str, dict[str, object]]:
    return tomllib.loads(resources.files(__package__).joinpath(file).read_text(encoding="utf-8"))

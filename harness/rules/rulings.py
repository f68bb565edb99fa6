"""Rulings: who decided what about a practice or a pull request, when, where it can be read, and from when it counts.

A ruleset is the law of a day; rulings come one at a time, are disputed, and are sometimes taken back. Each is a table
of `rulings.toml` (shipped) or of a file of one's own (`--rulings FILE`). One that was retracted stays in the file, and
does not count.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import tomllib
from collections.abc import Sequence
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import UsageError

FILE = "rulings.toml"

#: "forbidden" and "tolerated" are about a practice, whoever follows it; "waived" lets one pull request have a practice;
#: "accepted" and "rejected" are about a pull request as a whole, and change no finding.
Outcome = Literal["forbidden", "tolerated", "waived", "accepted", "rejected"]
_OF_PRACTICES = ("forbidden", "tolerated")
_DAY = re.compile(r"(?<!\d)(20\d\d)-(\d\d)-(\d\d)(?!\d)")
_LONGEST = 400


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Said(_Table):
    """What somebody said of a ruling: an objection to it, or that it is taken back."""

    by: str = Field(min_length=1, max_length=80)
    link: str = Field(min_length=1, max_length=200)
    text: str = Field(min_length=1, max_length=_LONGEST)
    date: datetime.date | None = None


class Ruling(_Table):
    """One ruling.

    Attributes:
        by: who ruled.
        date: the day of it.
        link: where it can be read.
        outcome: what was decided, see `Outcome`.
        practice: of the ruleset, that it is about.
        pull: the pull request that it is about.
        text: what was decided, one sentence in our own words.
        since: first day of submission that it counts for; by default `date`.
        until: last day, None where it has none.
        disputed: who objects.
        retracted: who took it back; it does not count any more.
    """

    by: str = Field(min_length=1, max_length=80)
    date: datetime.date
    link: str = Field(min_length=1, max_length=200)
    outcome: Outcome
    practice: str | None = None
    pull: int | None = Field(default=None, gt=0)
    text: str = Field(min_length=1, max_length=_LONGEST)
    since: datetime.date | None = None
    until: datetime.date | None = None
    disputed: tuple[Said, ...] = ()
    retracted: Said | None = None

    @model_validator(mode="after")
    def _fits(self) -> Ruling:
        if self.outcome in _OF_PRACTICES and (self.practice is None or self.pull is not None):
            raise ValueError(f"{self.outcome} is about a practice, and about no single pull request")
        if self.outcome == "waived" and (self.practice is None or self.pull is None):
            raise ValueError("a waiver names a practice and a pull request")
        if self.outcome in ("accepted", "rejected") and (self.pull is None or self.practice is not None):
            raise ValueError(f"{self.outcome} is about a pull request as a whole")
        if self.until is not None and self.until < self.begins:
            raise ValueError("it ends before it begins")
        return self

    @property
    def begins(self) -> datetime.date:
        """First day of submission that it counts for."""
        return self.since or self.date

    def covers(self, day: datetime.date) -> bool:
        """Whether it counts for what was submitted on a day."""
        return self.begins <= day and (self.until is None or day <= self.until)

    @property
    def span(self) -> str:
        """The days of submission that it counts for, in words."""
        return f"from {self.begins}" + (f" to {self.until}" if self.until else "")

    @property
    def cited(self) -> str:
        """The ruling in a sentence or two: who, when, what, where, and who objects."""
        what = {
            "forbidden": f"ruled against this on {self.date}, for submissions {self.span}",
            "tolerated": f"allowed this on {self.date}, for submissions {self.span}",
            "waived": f"waived this for #{self.pull} on {self.date}",
            "accepted": f"accepted #{self.pull} on {self.date}",
            "rejected": f"rejected #{self.pull} on {self.date}",
        }[self.outcome]
        objections = "".join(f" Disputed by {one.by} ({one.link}): {one.text}" for one in self.disputed)
        return f"{self.by} {what} ({self.link}): {self.text}{objections}"


class _File(_Table):
    ruling: dict[str, Ruling] = Field(default_factory=dict)


class Submitted(_Table):
    """When a submission was made, and as which pull request, as far as anybody says.

    Attributes:
        date: the day; None where nothing says it.
        said: where it is said.
        pull: number of the pull request, None where nobody named it.
    """

    date: datetime.date | None = None
    said: str = ""
    pull: int | None = None

    def or_by(self, claimed: str, folder: str) -> Submitted:
        """The same; where no day was named, that of submission.json, else that in the folder's name."""
        if self.date is not None:
            return self
        for said, text in (("submission.json", claimed), ("the folder's name", folder)):
            if (day := day_in(text)) is not None:
                return self.model_copy(update={"date": day, "said": said})
        return self


def day_in(text: str) -> datetime.date | None:
    """The first day that stands in a text as YYYY-MM-DD."""
    for found in _DAY.finditer(text[:200]):
        try:
            return datetime.date(*map(int, found.groups()))
        except ValueError:
            continue
    return None


def shipped() -> str:
    """The text of the rulings that ship with the harness."""
    return (resources.files("harness.rules") / FILE).read_text(encoding="utf-8")


def parse(texts: Sequence[str], name: str, practices: Sequence[str]) -> dict[str, Ruling]:
    """Rulings by id, from the texts of files; a later file may give a ruling of the same id anew.

    Args:
        texts: TOML.
        name: what an error calls the last of them.
        practices: that a ruling may be about.

    Raises:
        UsageError: a text does not fit the schema, or names an unknown practice.
    """
    found: dict[str, Ruling] = {}
    for text in texts:
        try:
            made = _File.model_validate(tomllib.loads(text)).ruling
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"rulings {name}: not TOML: {error}") from None
        except ValidationError as error:
            raise UsageError(f"rulings {name}: {_plain(error.errors()[0])}") from None
        for key, one in made.items():
            if one.practice is not None and one.practice not in practices:
                raise UsageError(f"rulings {name}: ruling.{key}.practice: no practice {one.practice!r}; there are "
                                 f"{', '.join(practices)}")  # fmt: skip
        found |= made
    return found


def digest(texts: Sequence[str]) -> str:
    """What names the rulings in a record: sha256 over their texts; "" for none."""
    return hashlib.sha256("".join(texts).encode()).hexdigest() if texts else ""


def table(rulings: dict[str, Ruling]) -> str:
    """The rulings as a Markdown table, in order of their days."""
    lines = ["| ruling | by | on | about | outcome | counts for submissions | where |", "|---|---|---|---|---|---|---|"]
    for key, one in sorted(rulings.items(), key=lambda item: (item[1].date, item[0])):
        about = " ".join([f"`{one.practice}`"] * bool(one.practice) + [f"#{one.pull}"] * bool(one.pull))
        counts = one.span if one.outcome in _OF_PRACTICES else ""
        outcome = f"{one.outcome}, disputed" if one.disputed else one.outcome
        if one.retracted is not None:
            outcome = f"{one.outcome}, retracted"
        lines.append(f"| {key} | {one.by} | {one.date} | {about} | {outcome} | {counts} | {one.link} |")
    return "\n".join(lines) + "\n"


def _plain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] in ("missing", "extra_forbidden"):
        return f"{where}: {'missing' if problem['type'] == 'missing' else 'no such field'}"
    return f"{where}: {str(problem['msg']).removeprefix('Value error, ')}"

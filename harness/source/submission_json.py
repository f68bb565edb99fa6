"""submission.json, decoded for everybody who asks what a submission says of itself.

It is written by strangers, in whatever their tools make of it. What can be read is read; what a strict reader would
refuse is named beside it, so that a door may refuse, note or ask, but none reads the file another way.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 1 << 20
#: Levels of objects and lists. A record holds the file some levels down, and what reads records has limits.
MOST_DEPTH = 40
_MOST_ODD = 20
_MOST_DIGITS = 308
_NAME = re.compile(r"submission[\w.-]{0,200}\.json", re.I)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Unreadable(ValueError):
    """Nothing can be read of the file; the message goes on after the file's name, on one line."""


@dataclass(frozen=True)
class Said:
    """What the file says.

    Attributes:
        data: its object, fit for a record: numbers that no JSON has (NaN, 1e999) and longer ones than any use stand in
            it as text, halves of characters are replaced, and of a field that stands twice the last one counts.
        odd: what a strict reader would refuse it for; each goes on after the file's name, on one line.
    """

    data: dict[str, Any]
    odd: tuple[str, ...] = ()


def find(names: Iterable[str]) -> list[str]:
    """The names that are submission.json or nearly so (submission_v2.json), the nearest to the top first.

    Args:
        names: of a folder's files, with slashes.
    """
    found = [name for name in names if _NAME.fullmatch(name.rsplit("/", 1)[-1])]
    return sorted(found, key=lambda name: (name != "submission.json", name.count("/"), name))


def check_size(size: int) -> None:
    """Look at a file's size in bytes before it is read.

    Raises:
        Unreadable: that is no metadata file.
    """
    if size > MOST_BYTES:
        raise Unreadable(f"has {size:,} bytes; that is no metadata file")


def read(content: bytes) -> Said:
    """Decode the file: UTF-8 or, with a mark or zeros to tell it by, UTF-16 or UTF-32.

    Raises:
        Unreadable: it is too large or nested too deep, is no JSON, or holds no object.
    """
    check_size(len(content))
    reading = _Reading()
    text = reading.text(content)
    foreign = reading.odd[:1]
    try:
        data = json.loads(
            text,
            object_pairs_hook=reading.fields,
            parse_constant=reading.constant,
            parse_float=reading.fraction,
            parse_int=reading.integer,
        )
    except (ValueError, RecursionError) as error:
        raise Unreadable(next(iter(foreign), f"is not JSON: {str(error).splitlines()[0][:120]}")) from None
    if not isinstance(data, dict):
        raise Unreadable("must hold an object with name, author and github_id")
    return Said(reading.fit(data, 0), tuple(reading.odd))


class _Reading:
    """One file on its way from bytes to data, and what was odd about it."""

    def __init__(self) -> None:
        self.odd: list[str] = []

    def _found(self, odd: str) -> None:
        if len(self.odd) < _MOST_ODD and odd not in self.odd:
            self.odd.append(odd)

    def text(self, content: bytes) -> str:
        encoding = json.detect_encoding(content)
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError as error:
            name = encoding.upper().removesuffix("-SIG")
            self._found(f"is not JSON: it is no {name} text at byte {error.start:,}")
            text = content.decode(encoding, "replace")
        return text.removeprefix("\ufeff")

    def constant(self, name: str) -> str:
        self._found(f"is not JSON: {name} is not a number that JSON knows")
        return name

    def fraction(self, written: str) -> float | str:
        number = float(written)
        if math.isfinite(number):
            return number
        self._found(f"is not JSON: Out of range is {_brief(written)}")
        return written

    def integer(self, written: str) -> int | str:
        if len(written) <= _MOST_DIGITS:
            return int(written)
        self._found(f"is not JSON: Out of range is an integer of {len(written):,} digits")
        return written

    def fields(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, value in pairs:
            if name in fields and fields[name] != value:
                self._found(f"says {_brief(name)} twice, {_brief(fields[name])} and {_brief(value)}")
            fields[name] = value
        return fields

    def fit(self, value: Any, depth: int) -> Any:
        """The value with whole characters only.

        Raises:
            Unreadable: it is nested too deep.
        """
        if depth > MOST_DEPTH:
            raise Unreadable("nests objects or lists too deep for metadata")
        if isinstance(value, str):
            return self._whole(value)
        if isinstance(value, dict):
            return {self._whole(name): self.fit(one, depth + 1) for name, one in value.items()}
        if isinstance(value, list):
            return [self.fit(one, depth + 1) for one in value]
        return value

    def _whole(self, text: str) -> str:
        if _SURROGATE.search(text) is None:
            return text
        self._found("is not JSON: lone surrogates, which are halves of characters, are no text")
        return _SURROGATE.sub("\ufffd", text)


def _brief(value: object) -> str:
    """A name or value as a few plain characters on one line."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = ascii(value[:60]) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def author(data: Mapping[str, Any]) -> str | None:
    """Who sent it: a name, or the first of a list of names or people."""
    person = _person(data)
    return _word(person) or (_inside(person, "name", "author") if isinstance(person, Mapping) else None)


def github_id(data: Mapping[str, Any]) -> str | None:
    """The account that sent it, named at the top or inside of the author."""
    person = _person(data)
    nested = _inside(person, "github_id", "github", "login") if isinstance(person, Mapping) else None
    return _inside(data, "github_id", "github") or nested


def title(data: Mapping[str, Any]) -> str | None:
    """What the submission calls itself."""
    return _inside(data, "name", "title", "submission_name")


def _person(data: Mapping[str, Any]) -> object:
    people = data.get("author") or data.get("authors")
    return people[0] if isinstance(people, list) and people else people


def _inside(place: Mapping[str, Any], *names: str) -> str | None:
    return next((word for name in names if (word := _word(place.get(name)))), None)


def _word(value: object) -> str | None:
    return value.strip()[:200] if isinstance(value, str) and value.strip() else None

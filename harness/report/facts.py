"""Any plain value of a record as something that a template can lay out: a text, named values, or a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.text import clean, label, number

#: Endings of names whose integers identify something and count nothing.
_NAMES = ("seed", "token", "id", "year", "port", "pid")


@dataclass(frozen=True)
class Budget:
    """How much of a value is shown; what is left out is counted, never dropped silently.

    Attributes:
        rows: named values, list items or table rows.
        text: characters of one text.
        depth: levels of nesting that are laid out; deeper ones become one line of text.
        columns: columns of a table; wider ones do not fit a phone.
    """

    rows: int = 40
    text: int = 400
    depth: int = 3
    columns: int = 5


@dataclass(frozen=True)
class Fact:
    """One value, laid out. Only the field that `kind` names is filled."""

    kind: Literal["text", "pairs", "table"]
    text: str = ""
    numeric: bool = False
    pairs: tuple[tuple[str, Fact], ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[Fact, ...], ...] = ()
    left_out: int = 0


def fact(value: object, budget: Budget = Budget(), depth: int = 0) -> Fact:
    """Lays out one value: mappings by name, lists of records and of rows as tables, everything else as text."""
    if isinstance(value, Mapping):
        if depth < budget.depth and value:
            return _pairs(value, budget, depth)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if depth < budget.depth and (table := _table(value, budget, depth)):
            return table
        return Fact("text", _join(value, budget))
    if isinstance(value, bool | int | float) or value is None:
        return Fact("text", number(value), numeric=not isinstance(value, bool) and value is not None)
    return Fact("text", clean(value, budget.text) if value != {} else "none")


def _named(name: object, value: object, budget: Budget, depth: int) -> Fact:
    """Lays out a value that has a name; an integer that is a name itself (a seed, a token id) is not grouped."""
    if isinstance(value, int) and abs(value) < 10**12 and str(name).endswith(_NAMES) and not isinstance(value, bool):
        return Fact("text", str(value), numeric=True)
    return fact(value, budget, depth)


def _pairs(value: Mapping[object, object], budget: Budget, depth: int) -> Fact:
    shown = list(value.items())[: budget.rows]
    pairs = tuple((label(name), _named(name, item, budget, depth + 1)) for name, item in shown)
    return Fact("pairs", pairs=pairs, left_out=len(value) - len(shown))


def _table(value: Sequence[object], budget: Budget, depth: int) -> Fact | None:
    """A table if the list holds records with the same few fields, or short rows of one length; otherwise None."""
    shown = value[: budget.rows]
    records = [item for item in shown if isinstance(item, Mapping)]
    if shown and len(records) == len(shown):
        names = tuple(records[0])
        if not 0 < len(names) <= budget.columns or any(tuple(item) != names for item in records):
            return _pairs({f"{index + 1}": item for index, item in enumerate(value)}, budget, depth)
        head = tuple(label(name) for name in names)
        cells = [[_named(name, item[name], budget, budget.depth) for name in names] for item in records]
    else:
        lists = [item for item in shown if isinstance(item, Sequence) and not isinstance(item, str | bytes)]
        if not shown or len(lists) != len(shown) or not 0 < len(lists[0]) <= budget.columns:
            return None
        if any(len(item) != len(lists[0]) for item in lists):
            return None
        head, cells = (), [[fact(cell, budget, budget.depth) for cell in item] for item in lists]
    rows = tuple(tuple(row) for row in cells)
    return Fact("table", head=head, rows=rows, left_out=len(value) - len(shown))


def _join(value: Sequence[object], budget: Budget) -> str:
    shown = [
        number(item) if isinstance(item, bool | int | float) or item is None else clean(item, budget.text)
        for item in value[: budget.rows]
    ]
    more = [f"… and {len(value) - budget.rows:,} more"] if len(value) > budget.rows else []
    return ", ".join(shown + more) or "none"

"""`Observed.facts` as a box sent them, brought into shape: every fact has its own type, or is left out.

The script could have sent anything; nobody downstream should have to think of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

_TEXT = 4000
_MANY = 2000


def tidy(facts: Any) -> dict[str, Any]:
    """The facts that are known, each of its own type; everything else is left out.

    Args:
        facts: what JSON gave; anything.
    """
    if not isinstance(facts, dict):
        return {"ended": "error", "error": "the run's facts are not a table"}
    made: dict[str, Any] = {}
    for name, shape in _SHAPES.items():
        if name in facts and (value := shape(facts[name])) is not None:
            made[name] = value
    made.setdefault("ended", "error")
    return made


def _text(value: Any) -> str | None:
    """Without terminal escapes; lines stay."""
    if not isinstance(value, str):
        return None
    return "".join(c if c.isprintable() or c == "\n" else " " for c in value[:_TEXT])


def _number(value: Any) -> float | None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return value if good and abs(value) < 1e18 else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def _counts(value: Any) -> dict[str, int] | None:
    if not isinstance(value, dict):
        return None
    made = {(_text(name) or "")[:200]: _count(count) for name, count in list(value.items())[:_MANY]}
    return {name: count for name, count in made.items() if count is not None}


def _rows(**columns: Callable[[Any], Any]) -> Callable[[Any], list[dict[str, Any]] | None]:
    """A list of tables that have at least these columns, of these types."""

    def shape(value: Any) -> list[dict[str, Any]] | None:
        if not isinstance(value, list):
            return None
        made = [
            {name: column(row.get(name)) for name, column in columns.items()}
            for row in value[:_MANY]
            if isinstance(row, dict)
        ]
        return [row for row in made if None not in row.values()]

    return shape


_SHAPES: dict[str, Callable[[Any], Any]] = {
    "ended": _text,
    "error": _text,
    "where": _text,
    "stage": _count,
    "stages": _rows(ended=_text, error=_text),
    "seconds": _number,
    "operations": _count,
    "peak_bytes": _count,
    "standins": _counts,
    "missing": _rows(name=_text, why=_text, place=_text),
    "files": _rows(name=_text, opened=_count, bytes=_count),
    "choices": _rows(name=_text, count=_count, place=_text),
    "edited": _counts,
    "fork": _count,
    "reports_left_out": _count,
    "python": _text,
    "torch": _text,
}

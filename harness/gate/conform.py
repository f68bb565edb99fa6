"""Does a JSON value fit a schema? The keywords that gate.schema.json uses, and no other. Standard library only.

The workflow that comments holds a token that can write, so it installs nothing: jsonschema stays in the tests, where
the two are compared.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),),
    "integer": (int,), "number": (int, float),
}  # fmt: skip
#: Keywords that describe and do not demand.
_IDLE = {"title", "description", "default", "$defs"}


def problem(
    value: object, schema: Mapping[str, Any], defs: Mapping[str, Any] | None = None, at: str = ""
) -> str | None:
    """Where `value` does not fit `schema`, in a few words that hold nothing of the value; None if it fits.

    Args:
        value: what `json.loads` gave.
        schema: the schema; an unknown keyword in it is an error, so that nothing is passed unread.
        defs: what `$ref` refers to; the schema's own `$defs` by default.
        at: where in the whole value this one is.

    Raises:
        ValueError: the schema demands something that is not known here.
    """
    defs = schema.get("$defs", {}) if defs is None else defs
    for keyword, wanted in schema.items():
        found = None if keyword in _IDLE else _one(keyword, wanted, value, schema, defs, at)
        if found is not None:
            return found
    return None


def _one(
    keyword: str, wanted: Any, value: object, schema: Mapping[str, Any], defs: Mapping[str, Any], at: str
) -> str | None:
    bad = f"{at or 'the whole'}: {keyword}"
    if keyword == "$ref":
        return problem(value, defs[wanted.removeprefix("#/$defs/")], defs, at)
    if keyword == "anyOf":
        return bad if all(problem(value, one, defs, at) for one in wanted) else None
    if keyword == "type":
        right = isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))
        return bad if not right or (isinstance(value, float) and not math.isfinite(value)) else None
    if keyword in ("const", "enum"):
        among = [wanted] if keyword == "const" else wanted
        return None if isinstance(value, str) and value in among else bad
    if keyword in ("maxLength", "pattern"):
        if not isinstance(value, str):
            return None
        fits = len(value) <= wanted if keyword == "maxLength" else re.fullmatch(wanted, value) is not None
        return None if fits else bad
    if keyword in ("minimum", "maximum"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return bad if (value < wanted if keyword == "minimum" else value > wanted) else None
    if keyword in ("maxItems", "items"):
        if not isinstance(value, list):
            return None
        if keyword == "maxItems":
            return bad if len(value) > wanted else None
        return next((p for i, item in enumerate(value) if (p := problem(item, wanted, defs, f"{at}[{i}]"))), None)
    if keyword in ("properties", "required", "additionalProperties"):
        return _members(keyword, wanted, value, schema, defs, at) if isinstance(value, dict) else None
    raise ValueError(f"the schema uses {keyword!r}, which is not known here")


def _members(
    keyword: str, wanted: Any, value: Mapping[str, Any], schema: Mapping[str, Any], defs: Mapping[str, Any], at: str
) -> str | None:
    known = schema.get("properties", {})
    if keyword == "required":
        missing = next((name for name in wanted if name not in value), None)
        return f"{at or 'the whole'}: {missing} is missing" if missing else None
    if keyword == "additionalProperties":
        if wanted is not False:
            raise ValueError("the schema allows fields beyond its own, which is not known here")
        return None if value.keys() <= known.keys() else f"{at or 'the whole'}: a field too many"
    return next(
        (p for name, one in wanted.items() if name in value and (p := problem(value[name], one, defs, f"{at}.{name}"))),
        None,
    )

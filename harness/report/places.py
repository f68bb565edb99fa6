"""Where a finding stands in the submission's files, as its witness quotes them: what has a file and a line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from harness.record import Finding
from harness.text import brief, clean

#: Places of one finding that are told; GitHub shows 5,000 results of a run.
MOST = 50

#: Places of one finding that a view for people lists.
LISTED = 6

#: A place as the recorder writes it: "train_gpt.py:812 eval_val < main:1207".
_PLACE = re.compile(r"^(?P<file>[^\s:]{1,200}):(?P<line>[1-9]\d{0,6})(\s|$)")


def places(finding: Finding) -> list[tuple[str, int, str]]:
    """(file, line, what stands there or "") of a finding's witness, each once; empty without one."""
    if finding.witness is None:
        return []
    data = finding.witness.data
    quoted = _quoted(data.get("source"))
    found = ((file, line, said or quoted.get((file, line), "")) for file, line, said in _walk(data, 0))
    return list(dict.fromkeys(found))[:MOST]


def _quoted(rows: object) -> dict[tuple[str, int], str]:
    """What stands in lines, as a script's witness has it beside its places: [["train_gpt.py:812", text], ...]."""
    found = {}
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, list) and len(row) == 2 and all(isinstance(one, str) for one in row):
            if place := _PLACE.match(row[0]):
                found[place["file"], int(place["line"])] = brief(row[1], 200)
    return found


def listed(finding: Finding) -> tuple[list[tuple[str, str]], int]:
    """("file:line", what stands there) of the first places, the same in every view for people, and how many follow."""
    found = places(finding)
    return [(f"{clean(file, 200)}:{line}", said) for file, line, said in found[:LISTED]], max(0, len(found) - LISTED)


def at(finding: Finding) -> str:
    """The same in one line without the quotes; "" where there is none."""
    shown, more = listed(finding)
    return ", ".join(place for place, _ in shown) + (f" and {more} more in record.json" if more else "")


def _walk(value: object, depth: int) -> Iterator[tuple[str, int, str]]:
    if depth > 4:
        return
    if isinstance(value, Mapping):
        file, line = value.get("file"), value.get("line")
        if isinstance(file, str) and file and type(line) is int and 0 < line < 10**7:
            yield file, line, brief(value.get("text", ""), 200)
            return
        for name, item in value.items():
            if name == "place" and isinstance(item, str):
                if place := _PLACE.match(item):
                    yield place["file"], int(place["line"]), ""
            elif isinstance(item, Mapping | list):
                yield from _walk(item, depth + 1)
    elif isinstance(value, list):
        for item in value[:200]:
            if isinstance(item, Mapping | list):
                yield from _walk(item, depth + 1)

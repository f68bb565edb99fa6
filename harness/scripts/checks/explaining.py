"""A place in a script as a reviewer would quote it: the source lines, innermost first, with their line numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.record import Finding, Status

_FIRST = re.compile(r"^(?P<file>[^\s:]+):(?P<line>\d+) (?P<name>\S+)$")
_CALLER = re.compile(r"^(?P<name>\S+):(?P<line>\d+)$")


@dataclass(frozen=True)
class Quote:
    """One frame: file, line number, function, and the line with its neighbours as (number, text)."""

    file: str
    line: int
    function: str
    lines: tuple[tuple[int, str], ...]


def quote(place: str, sources: Mapping[str, str], *, around: int = 1) -> list[Quote]:
    """The frames of a place such as "train_gpt.py:812 eval_val < main:1207 < <module>:1300".

    Args:
        place: as the recorder writes it.
        sources: text of each file by name; frames of callers are looked up in the innermost frame's file.
        around: lines before and after.
    """
    parts = [part.strip() for part in place.split(" < ")]
    head = _FIRST.match(parts[0]) if parts else None
    if head is None:
        return []
    file = head["file"]
    text = sources.get(file, "").splitlines()
    frames = [(head["name"], int(head["line"]))]
    frames += [(m["name"], int(m["line"])) for part in parts[1:] if (m := _CALLER.match(part))]
    return [
        Quote(
            file,
            line,
            name,
            tuple(
                (number, text[number - 1]) for number in range(max(1, line - around), min(len(text), line + around) + 1)
            ),
        )
        for name, line in frames
    ]


def with_quotes(finding: Finding, sources: Mapping[str, str]) -> Finding:
    """The finding with the source lines that its witness names, as [place, text] rows in the witness's data."""
    if finding.status != Status.FAIL or finding.witness is None:
        return finding
    data = finding.witness.data
    training = data.get("training")
    places = [str(training["place"])] if isinstance(training, dict) else []
    places += [str(data["place"])] if "place" in data else []
    rows = [
        [f"{frame.file}:{frame.line}", dict(frame.lines)[frame.line].strip()[:200]]
        for place in places
        for frame in quote(place, sources, around=0)
        if frame.line in dict(frame.lines)
    ]
    witness = finding.witness.model_copy(update={"data": {**data, "source": rows}})
    return finding.model_copy(update={"witness": witness if rows else finding.witness})


def explain(finding: Finding, sources: Mapping[str, str], *, around: int = 2) -> list[str]:
    """Lines of text that show where a FAIL comes from: the loss that was trained on too early, and the one scored."""
    if finding.status != Status.FAIL or finding.witness is None:
        return []
    data = finding.witness.data
    told = [f"{finding.id}: {finding.headline}"]
    training = data.get("training")
    named = []
    if isinstance(training, dict):
        named.append((f"trained on here ({training.get('what')})", str(training.get("place"))))
    if "place" in data:
        named.append(("scored here", str(data["place"])))
    for title, place in named:
        frames = quote(place, sources, around=around)
        if not frames:
            continue
        told.append(f"  {title}:")
        for index, frame in enumerate(frames):
            told.append(f"    {'called from ' if index else ''}{frame.file}:{frame.line} in {frame.function}")
            shown = frame.lines if index == 0 else tuple(item for item in frame.lines if item[0] == frame.line)
            told += [f"    {'>' if number == frame.line else ' '} {number:5d} | {text[:160]}" for number, text in shown]
    return told

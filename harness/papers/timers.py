"""Times that a log prints beside the timer that decides, and what the author says of the limits.

Scripts time what they want to be judged by, and often print more: the time of the whole evaluation, of the process, of
producing the artifact. What such a number includes is known by its name alone, so that a longer one than the script's
timer is shown and is a question, and is no violation where the timer itself is within the limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.papers.collect import Case
from harness.papers.logs import Run, bare, half_unit
from harness.papers.reading import Number, Paper, Quote
from harness.source import submission_json

Phase = Literal["train", "eval", "size"]

_TIME = re.compile(
    r"(?P<label>[A-Za-z][A-Za-z_ -]{3,60}?)(?: ?\(s\))?[:= ]{1,3}(?P<value>\d{1,9}(?:\.\d{1,6})?) ?"
    r"(?P<unit>ms|s|sec|secs|seconds|min|minutes)\b"
)
_MINUTES = re.compile(r"^real\s+(?P<minutes>\d{1,4})m(?P<seconds>\d{1,2}(?:\.\d{1,3})?)s\s*$")
#: What the label of a phase's whole time is made of; parts of a phase (one chunk, a step, a warm-up) are left out.
_WHOLE = re.compile(r"total|wall|process|elapsed|overall|end[_ -]to[_ -]end|production|runtime|duration", re.I)
_PART = re.compile(
    r"step|chunk|epoch|rank|warm|compile|export_wait|remaining|load|download|budget|limit|cap\b|train_time|avg|per_|hessian|"
    r"pass\d|calib|serializ|compress|quant|pre_?quant",
    re.I,
)
_PHASES: Mapping[str, re.Pattern[str]] = {
    "eval": re.compile(r"eval|valid|scor|ttt|inference", re.I),
    "train": re.compile(r"train|artifact", re.I),
}
_UNITS = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "secs": 1.0, "seconds": 1.0, "min": 60.0, "minutes": 60.0}
_SAYS_OVER = re.compile(r"over_?(?:budget|limit|cap|time|size)|exceeds?_|too_(?:large|slow|long|big)", re.I)
_SAYS_UNDER = re.compile(r"(?:^|_)(?:under|within|fits?|below)(?:_|$)", re.I)
_NAMED: Mapping[Phase, re.Pattern[str]] = {
    "train": re.compile(r"train|wallclock|600s|10_?min", re.I),
    "eval": re.compile(r"eval|ttt|inference", re.I),
    "size": re.compile(r"artifact|size|bytes|\d_?mb|budget|cap", re.I),
}
_MOST = 40


@dataclass(frozen=True)
class Reading:
    """A time that a log prints: how it is called there, and seconds with the line."""

    label: str
    seconds: Number


@dataclass(frozen=True)
class Word:
    """What submission.json says of a limit by a boolean: the field, whether the limit is kept, and the line."""

    field: str
    kept: bool
    at: Quote


def readings(case: Case, runs: Sequence[Run], phase: Literal["train", "eval"]) -> list[Reading]:
    """Whole times of a phase in the logs of these runs, the longest first."""
    found: dict[tuple[str, float], Reading] = {}
    for name in dict.fromkeys(run.file for run in runs):
        paper = case.papers.named(name)
        for one in _of_log(paper, phase) if paper is not None else ():
            found.setdefault((one.label, one.seconds.value), one)
    return sorted(found.values(), key=lambda one: -one.seconds.value)[:_MOST]


def _of_log(paper: Paper, phase: str) -> Iterator[Reading]:
    for index, raw in enumerate(paper.lines):
        if len(raw) > 300 or not raw[:1].strip() or "{" in raw:  # indented and braced lines are source text
            continue
        line = bare(raw).strip()
        for match in _TIME.finditer(line) if _WHOLE.search(line) else ():
            label = match["label"].strip(" :=-")
            told = line[: match.end("label")]
            if not _WHOLE.search(told) or _PART.search(told) or not _PHASES[phase].search(told):
                continue
            if phase == "train" and _PHASES["eval"].search(told):
                continue
            scale = _UNITS[match["unit"]]
            value = Number(float(match["value"]) * scale, half_unit(match["value"]) * scale, paper.quote(index))
            yield Reading(label, value)


def process_time(case: Case, runs: Sequence[Run]) -> Reading | None:
    """The longest time of a whole process that a shell's `time` has printed into these logs."""
    found = []
    for name in dict.fromkeys(run.file for run in runs):
        paper = case.papers.named(name)
        for index, line in enumerate(paper.lines if paper else []):
            if line.startswith("real") and (match := _MINUTES.match(line)) is not None and paper is not None:
                seconds = 60 * int(match["minutes"]) + float(match["seconds"])
                found.append(Reading("real", Number(seconds, 0.5, paper.quote(index))))
    return max(found, key=lambda one: one.seconds.value, default=None)


def words(case: Case, phase: Phase) -> list[Word]:
    """Booleans of submission.json that say whether this limit is kept."""
    papers = case.papers.metadata
    if not papers:
        return []
    try:
        submission_json.check_size(papers[0].size)
        data = submission_json.read(papers[0].content).data
    except submission_json.Unreadable:
        return []
    found = []
    for field, value in _booleans(data, 0):
        over, under = bool(_SAYS_OVER.search(field)), bool(_SAYS_UNDER.search(field))
        if over == under or not _NAMED[phase].search(field):
            continue
        if phase != "eval" and _NAMED["eval"].search(field):
            continue
        line = next((i for i, text in enumerate(papers[0].lines) if f'"{field}"' in text), 0)
        found.append(Word(field, value is under, papers[0].quote(line)))
    return found


def _booleans(data: Mapping[str, Any], deep: int) -> Iterator[tuple[str, bool]]:
    for key, value in list(data.items())[:200]:
        if isinstance(value, bool):
            yield str(key), value
        elif isinstance(value, Mapping) and deep < 3:
            yield from _booleans(value, deep + 1)


def told(words_: Sequence[Word], over: str | None) -> str:
    """What the author says, as a clause: an admission, or a promise beside what the logs show to be over."""
    admitted = [one for one in words_ if not one.kept]
    if admitted:
        return f"; submission.json says {admitted[0].field} = {str('over' in admitted[0].field.lower()).lower()}"
    if over and words_:
        return f"; submission.json says that the limit is kept ({words_[0].field}), and {over}"
    return ""

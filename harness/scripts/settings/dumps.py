"""What a training log says about the settings of its run: its hyperparameter dump, or older scripts' header lines.

Logs embed the script's source, so a line counts only if all of it has the form that the script prints, with values.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass

from harness.scripts.settings.reads import Read, Reads, same
from harness.scripts.trace import lines

_HEAD = re.compile(r"^Hyper-?parameters:?\s*$", re.I)
_ENTRY = re.compile(r"^\s+(\w+): ?(.*)$")
_TITLE = re.compile(r"\A\w++:")
_IS_PAIR = re.compile(r"\A[a-z]\w*+[:=][^{}\"']++\Z")
_PAIR = re.compile(r"(?<!\w)([a-z]\w*+)[:=]([^\s{}\"',]+)")
_STEP = re.compile(r"^(?:\S+ )?(?:step:?\s?)?\d+/\d+ (?:train|val)_loss")


@dataclass(frozen=True)
class Dumped:
    """Settings of one logged run.

    Attributes:
        file: the log.
        values: {name: (value as the text that sets it, line)}.
        full: whether it has a hyperparameter dump, which names every setting.
    """

    file: str
    values: dict[str, tuple[str, int]]
    full: bool


def read_dump(text: str, file: str, reads: Reads, labels: Collection[str] = ()) -> Dumped:
    """The settings that a log prints, in terms of what the script reads.

    Args:
        text: of the log.
        file: its name.
        reads: what the script reads, and under which labels it prints it.
        labels: of the lines that show the claimed score, as `lines.plain` gives them. They follow the header, and what
            they print of settings counts as well (`stride:64` behind a score).
    """
    attributes = reads.by_attribute()
    values: dict[str, tuple[str, int]] = {}
    dumping = full = training = False
    for number, line in enumerate(text.splitlines(), 1):
        line = line.rstrip()
        if _HEAD.match(line):
            dumping, full = True, True
            continue
        if dumping:
            entry = _ENTRY.match(line)
            if entry is None:
                dumping = False
            else:
                read = attributes.get(entry[1])
                value = as_set(entry[2], read) if read else None
                if read and value is not None:
                    values.setdefault(read.name, (value, number))
                continue
        training |= _STEP.match(line) is not None
        if training and (full or not labels):
            break
        shows = training and (told := lines.read(line, number)) is not None and told.label in labels
        if shows or (not training and not full and _is_pairs(line)):
            for label, shown in _PAIR.findall(line):
                found = _header(label, shown, reads, attributes)
                if found:
                    values.setdefault(found[0], (found[1], number))
    return Dumped(file, values, full)


def _is_pairs(line: str) -> bool:
    """Whether a line is `name:value` or `name=value`, one or several by blanks or commas, perhaps behind a title."""
    title = _TITLE.match(line)
    return _all_pairs(line) or (title is not None and _all_pairs(line[title.end() :]))


def _all_pairs(text: str) -> bool:
    words = text.split()
    # A comma in front of a word parts it from the one before; one at a word's end may be of its value.
    return bool(words) and all(
        _IS_PAIR.match(word if index == 0 else word.lstrip(",")) is not None
        for index, word in enumerate(words)
        if index == 0 or word.strip(",") or index == len(words) - 1
    )


def _header(label: str, shown: str, reads: Reads, attributes: dict[str, Read]) -> tuple[str, str] | None:
    """(name, value) of one `label:value`, if the script prints that label from a setting."""
    printed = reads.printed.get(label)
    read = attributes.get(printed[0]) if printed else None
    if printed is None or read is None:
        return None
    value = as_set(shown, read)
    if value is None:
        return None
    if printed[1] and read.default is not None and same(_rounded(read.default, shown), value):
        return read.name, read.default  # the log rounds; what it shows is the default
    return read.name, value


def _rounded(default: str, shown: str) -> str:
    try:
        return f"{float(default):.{len(shown.partition('.')[2])}f}"
    except ValueError:
        return default


def as_set(shown: str, read: Read) -> str | None:
    """A printed value as the text that sets it; None where there is none."""
    shown = shown.strip()
    if shown in ("None", "") and read.cast != "text":
        return None
    if shown == "None":
        return None
    if read.cast == "bool" or (shown in ("True", "False") and read.default in ("0", "1", None, "True", "False")):
        return {"True": read.yes, "False": read.no, "1": read.yes, "0": read.no}.get(shown)
    if read.listed and shown[:1] in "[({" and shown[-1:] in "])}":
        try:
            items = ast.literal_eval(shown) if shown not in ("{}", "()", "[]", "set()") else []
            return ",".join(map(str, sorted(items) if isinstance(items, (set, dict)) else items))
        except (ValueError, SyntaxError, TypeError):
            return None
    try:
        if read.cast == "int":
            return str(int(float(shown))) if float(shown).is_integer() else None
        if read.cast == "float":
            float(shown)
            return shown
    except (ValueError, OverflowError):
        return None
    return shown if shown[:1] not in "[({<" else None

"""Texts that make a backtracking pattern work hard, made from the pattern itself, and how the work grows with them.

For every repeat in a pattern: what leads up to it, then what it repeats, over and over, then something that does not
match. The pattern's own parts are what a chain of alternatives or a search from every place has to try again and again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

#: What nothing matches that is written for lines of text, and what ends lines.
ENDS = ("\x01", "\n", "{\x01", " =\x01")
_CATEGORY = {
    c.CATEGORY_DIGIT: "1", c.CATEGORY_WORD: "a", c.CATEGORY_SPACE: " ", c.CATEGORY_NOT_SPACE: "a",
    c.CATEGORY_NOT_DIGIT: "a", c.CATEGORY_NOT_WORD: "-",
}  # fmt: skip
WAYS = ("search", "match", "fullmatch", "findall")
_PREFER = "a1 -_.:=,\t/xA"

#: CPU seconds under which nothing is concluded, and how much more work may be done on four times the text: 4 is linear,
#: 16 quadratic. Lengths grow by a quarter, so that work which doubles with every few letters is met while it is small.
FLOOR, GROWTH = 0.015, 9.0
SHORT, LONGEST, STEPS = 64, 6_000, 6
SIZES = tuple(int(8 * 1.25**n) for n in range(40) if 8 * 1.25**n < LONGEST)


def samples(tree: Any) -> list[str]:
    """A few short texts that a part of a pattern matches, the first the simplest."""
    found = [""]
    for operator, argument in tree:
        found = [a + b for a in found[:3] for b in _one(operator, argument)[:3]][:4]
    return found


def _one(operator: Any, argument: Any) -> list[str]:
    if operator is c.LITERAL:
        return [chr(argument)]
    if operator is c.NOT_LITERAL:
        return [next(one for one in _PREFER if one != chr(argument))]
    if operator is c.ANY:
        return ["a", " "]
    if operator is c.IN:
        return _members(argument)
    if operator is c.BRANCH:
        return [text for branch in argument[1] for text in samples(branch)[:1]]
    if operator is c.SUBPATTERN:
        return samples(argument[-1])
    if operator in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT):
        low, _, inside = argument
        texts = samples(inside)
        return [texts[0] * low, *(text * max(1, low) for text in texts)]
    if operator is c.ATOMIC_GROUP:
        return samples(argument)
    return [""]


def _members(argument: Any) -> list[str]:
    negated = bool(argument) and argument[0][0] is c.NEGATE
    wanted: list[str] = []
    refused: set[str] = set()
    for kind, value in argument:
        if kind is c.LITERAL:
            wanted.append(chr(value))
            refused.add(chr(value))
        elif kind is c.RANGE:
            wanted += [chr(value[0]), chr(value[1])]
            refused |= {chr(one) for one in range(value[0], min(value[1], value[0] + 300) + 1)}
        elif kind is c.CATEGORY:
            wanted.append(_CATEGORY[value])
            refused |= set(" \t\n") if value is c.CATEGORY_SPACE else {_CATEGORY[value]}
    return [one for one in _PREFER if one not in refused][:3] if negated else wanted[:4]


def repeats(tree: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """(what leads up to it, what is repeated) of every repeat without a bound, or with a large one."""
    for operator, argument in tree:
        if operator in (c.MAX_REPEAT, c.MIN_REPEAT):
            _, high, inside = argument
            if high > 16:
                for text in samples(inside):
                    if text:
                        yield before, text
            yield from repeats(inside, before)
        elif operator is c.BRANCH:
            for branch in argument[1]:
                yield from repeats(branch, before)
        elif operator in (c.SUBPATTERN,):
            yield from repeats(argument[-1], before)
        before += _one(operator, argument)[0]


def texts(pattern: re.Pattern[Any]) -> list[tuple[str, str]]:
    """(beginning, what is repeated after it), each once."""
    tree = _parser.parse(pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1"),
                         pattern.flags & ~re.DEBUG)  # fmt: skip
    found: dict[tuple[str, str], None] = {}
    for before, unit in repeats(tree):
        for start in (before, before * 2, ""):
            for repeated in (unit, f"{unit} ", before + unit, f"{before}{unit} ", f"{before}{unit},"):
                if repeated:
                    found[start, repeated] = None
    whole = samples(tree)[0]
    for repeated in (whole, f"{whole} ", f"{whole}\n", whole[: len(whole) // 2], "\n", " ", "a", "1", "1 ", "a=1,"):
        if repeated:
            found["", repeated] = None
    return list(found)


def work(pattern: re.Pattern[Any], how: str, text: str | bytes) -> float:
    """CPU seconds, the least of two tries."""
    best = float("inf")
    for _ in range(2):
        begin = time.process_time()
        if how == "findall":
            for _ in pattern.finditer(text):
                pass
        else:
            getattr(pattern, how)(text)
        best = min(best, time.process_time() - begin)
        if best < FLOOR:
            break
    return best


def grows(pattern: re.Pattern[Any], ways: Sequence[str] = WAYS) -> str | None:
    """A text on which the work grows much faster than its length, in words; None if none was found."""
    for before, unit in texts(pattern):
        for end in ENDS:
            for how in ways:
                known: list[float] = []
                for size in SIZES:
                    text: str | bytes = before + unit * max(1, size // len(unit)) + end
                    if isinstance(pattern.pattern, bytes):
                        text = str(text).encode("latin-1", "replace")
                    known.append(work(pattern, how, text))
                    # Of a short text any work that can be measured is too much: it doubles with every letter.
                    earlier = max(known[-1 - STEPS], FLOOR / 100) if size > SHORT else 0.0
                    if known[-1] > FLOOR and known[-1] > GROWTH * earlier:
                        return f"{how} of {before!r} + {unit!r} * {size // len(unit)} + {end!r}: {known[-1]:.2f} s CPU"
    return None

"""What a folder's words say of a technique: that it is in the submission, that it is not, or nothing of the kind.

README and submission.json are read as statements: sentences of paragraphs, list items and table rows, with the headings
above them. Plain words are compared, nothing is understood: a statement speaks for a technique where it names it in a
title, or with a number beside it, and neither denies it nor stands among what was tried, dropped or left to others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

_FENCE = re.compile(r"^\s*(?:```|~~~)")
_HEADING = re.compile(r"^\s{0,3}(#{1,6})\s(.*)$")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d{1,2}[.)])\s+")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+")
_LINK = re.compile(r"\]\([^)]{0,300}\)|https?://\S+|(?:PR|issue)?\s?#\d+", re.I)
_LONGEST = 2_000

#: Headings and lead-ins above what is not in the submission.
_ELSEWHERE = re.compile(
    r"(?:did|does|do|was|is)(?: ?n.?t| not)\b|negative|fail|tried|dropped|abandon|discard|remov|future|next|related"
    r"|credit|acknowledg|reference|compar|lineage|limitation|ablation|histor|explor|experiment|\bnot\b|\bunused\b"
    r"|what i learned",
    re.I,
)
#: What a paragraph or an item says of something that is not in the submission.
_DROPPED = re.compile(
    r"\b(?:tried|abandoned|discarded|reverted|negative result|neutral|worse|hurts?|future work|off by default|optional"
    r"|opt-in|ablat\w+|no (?:gain|benefit|improvement|effect|help)|not (?:used|included|enabled|applied|part|active)"
    r"|(?:did|does|do)(?: ?n.?t| not) (?:help|work|improve|transfer|use|stack)"
    r"|(?:was|were|is|are|been|got|we|i|then|and|but) (?:\w+ )?(?:dropped|removed|disabled|excluded)"
    r"|(?:dropped|removed|disabled|excluded)[:.]?$)",
    re.I,
)
_DENIES = {"no", "disable", "disabled", "disables", "removed", "removes", "dropped", "non", "zero"}
_DENIED = {"disabled", "off", "removed", "unused", "excluded", "optional", "none", "false", "no"}
_ABBREVIATED = re.compile(r"\btest[- ]time (?:training|adaptation)\b", re.I)
_NUMBER = re.compile(r"(?<![A-Za-z\d.])\d+(?:\.\d+)?(?![A-Za-z\d])(?!\.\d)")
#: How many words away a denial may stand.
_NEAR = 4


@dataclass(frozen=True)
class Statement:
    """A sentence, a table row, or a title.

    Attributes:
        file: where it stands.
        line: at which line it begins.
        text: as it is.
        title: it names the submission: its folder, the README's first heading, a text of submission.json.
        elsewhere: it stands under a heading, or in a paragraph, of what is not in the submission.
        code: it stands in a code block.
    """

    file: str
    line: int
    text: str
    title: bool = False
    elsewhere: bool = False
    code: bool = False

    @cached_property
    def words(self) -> list[str]:
        """Its words in small letters, in order; letters and digits that stand together are parted."""
        text = _ABBREVIATED.sub(" TTT ", _LINK.sub(" ", self.text))
        parts = re.sub(r"([a-z])([A-Z][a-z])|([a-z])([A-Z]{2})", r"\1\3 \2\4", text)
        return [word.lower() for word in re.findall(r"[A-Za-z]+|\d+(?:\.\d+)?", parts)]

    def __str__(self) -> str:
        shown = " ".join(self.text.split())
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f'{where} "{shown if len(shown) <= 120 else shown[:117] + "..."}"'

    def about(self, topic: Collection[str]) -> tuple[int, int] | None:
        """First and last place of a topic's words in it, near each other; None where they are not all there."""
        for first in range(len(self.words)):
            if not any(self._is(first, word) for word in topic):
                continue
            near = range(first, min(first + len(topic) + _NEAR, len(self.words)))
            places = [next((at for at in near if self._is(at, word)), None) for word in topic]
            if all(at is not None for at in places):
                return first, max(at for at in places if at is not None)
        return None

    def _is(self, at: int, word: str) -> bool:
        """Whether a word stands there: as it is, in the plural, or written as two."""
        here = self.words[at]
        joined = here + self.words[at + 1] if at + 1 < len(self.words) else here
        return word in (here, joined) or here == word + "s" or joined == word + "s"

    def says(self, topic: Collection[str]) -> Literal["title", "body", "no"] | None:
        """What it says of a topic: it speaks for it in a title, or with a number; it denies it; or neither."""
        found = self.about(topic)
        if found is None or self.code:
            return None
        first, last = found
        before = self.words[max(0, first - _NEAR) : first]
        after = self.words[last + 1 : last + 1 + _NEAR]
        if _DENIES & set(before) or _DENIED & set(after[:2]) or {"not", "using"} <= set(before):
            return "no"
        if self.elsewhere or "without" in before:
            return None
        if self.title:
            return "title"
        number = _NUMBER.search(_LINK.sub(" ", self.text)) or after[:1] and after[0].replace(".", "").isdigit()
        return "body" if number else None


def statements(text: str, file: str) -> Iterator[Statement]:
    """The statements of a README, in order."""
    above: list[tuple[int, str]] = []
    lead, fenced, first = "", False, True
    block: list[tuple[int, str]] = []

    def told() -> Iterator[Statement]:
        """The statements of the block that has ended."""
        nonlocal lead
        joined = " ".join(line.strip() for _, line in block)[:_LONGEST]
        item = bool(block) and _ITEM.match(block[0][1]) is not None
        headed = any(_ELSEWHERE.search(title) for _, title in above) or (item and _ELSEWHERE.search(lead))
        elsewhere = bool(headed or _DROPPED.search(joined))
        for sentence in _SENTENCE.split(joined):
            if sentence.strip():
                yield Statement(file, _line_of(sentence, block), sentence.strip(), elsewhere=elsewhere)
        if block and not item:
            lead = joined if joined.rstrip("*_ ").endswith(":") else ""
        block.clear()

    for number, line in enumerate(text.splitlines(), 1):
        line = line[:_LONGEST]
        if _FENCE.match(line):
            yield from told()
            fenced = not fenced
        elif fenced:
            yield Statement(file, number, line, code=True)
        elif heading := _HEADING.match(line):
            yield from told()
            depth, title = len(heading[1]), heading[2].strip().rstrip("#").rstrip()
            above = [(level, one) for level, one in above if level < depth]
            headed = any(_ELSEWHERE.search(one) for _, one in [*above, (depth, title)])
            yield Statement(file, number, title, title=first, elsewhere=headed and not first)
            above += [] if first else [(depth, title)]
            lead, first = "", False
        elif not line.strip():
            yield from told()
        elif line.lstrip().startswith("|") or _ITEM.match(line):
            yield from told()
            block.append((number, line))
        else:
            block.append((number, line))
    yield from told()


def _line_of(sentence: str, block: list[tuple[int, str]]) -> int:
    start = sentence.strip()[:24]
    return next((number for number, line in block if start[: max(8, len(line.strip()))] in line), block[0][0])


def of_metadata(claims: Mapping[str, Any], file: str, text: str) -> Iterator[Statement]:
    """The texts of submission.json as titles, sentence by sentence; yes and no with their fields' names."""
    for value in _texts(claims):
        start = value.rpartition(": ")[2][:24]
        line = next((number for number, one in enumerate(text.splitlines(), 1) if start and start in one), 0)
        elsewhere = _DROPPED.search(value) is not None
        for sentence in _SENTENCE.split(value[:_LONGEST]):
            yield Statement(file, line, sentence, title=True, elsewhere=elsewhere)


def _texts(value: Any, name: str = "", depth: int = 4) -> Iterator[str]:
    if isinstance(value, str):
        if name not in ("author", "github_id", "date", "based_on", "base", "parent"):
            yield value
    elif isinstance(value, bool):
        yield f"{name}: {'yes' if value else 'disabled'}"
    elif isinstance(value, Mapping) and depth:
        for key, inner in list(value.items())[:200]:
            yield from _texts(inner, str(key), depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value[:200]:
            yield from _texts(inner, name, depth - 1)


def topic_of(name: str, generic: Collection[str]) -> frozenset[str]:
    """The words of a setting's or a function's name that say what it is about."""
    return frozenset(re.findall(r"[a-z]+", name.lower())) - frozenset(generic)

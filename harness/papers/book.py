"""What one check compared: agreements, contradictions and questions."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.papers.reading import Number, Quote
from harness.papers.reasons import Reason


@dataclass
class Book:
    """What was compared: agreements, contradictions and questions, with the lines that say so.

    `apart` holds what could not be compared, and why; `reasons` why there are contradictions, then questions.
    """

    agreed: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    quotes: list[Quote | Number | None] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    apart: list[str] = field(default_factory=list)

    def question(self, reason: Reason, text: str, *quotes: Quote | Number | None) -> None:
        """Something that needs explaining."""
        self.questions.append(text)
        self.reasons.append(reason)
        self.quotes += quotes

    def contradiction(self, reason: Reason, text: str, *quotes: Quote | Number | None) -> None:
        """Something that cannot be otherwise."""
        self.contradictions.append(text)
        self.reasons.insert(0, reason)
        self.quotes[:0] = quotes

"""Shared 13-word runs between documents: the usual unit for "this text was seen before"."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Words in a run. 13 is the customary length for finding test text in training text (GPT-3, arXiv:2005.14165, app. C).
RUN = 13

_WORD = re.compile(r"\w+")


def word_runs(text: str, length: int = RUN) -> set[str]:
    """Every run of `length` consecutive words, case folded, punctuation and spacing ignored.

    A text with fewer words is one run by itself, so short documents can be compared too.
    """
    words = _WORD.findall(text.casefold())
    if not words:
        return {text.strip()}
    if len(words) <= length:
        return {" ".join(words)}
    return {" ".join(words[i : i + length]) for i in range(len(words) - length + 1)}


def remove_near_duplicates(documents: Sequence[str], *, limit: float = 0.2) -> list[str]:
    """The documents of which at most the share `limit` of 13-word runs occurs in longer kept documents.

    Longest first, so that of a text and an excerpt the text stays; equal lengths go by text. Order is kept otherwise.

    Args:
        documents: any texts.
        limit: largest tolerated share of a document's distinct runs, 0 to 1.
    """
    seen: set[str] = set()
    kept: list[int] = []
    for index in sorted(range(len(documents)), key=lambda i: (-len(documents[i]), documents[i], i)):
        runs = word_runs(documents[index])
        if len(runs & seen) <= limit * len(runs):
            kept.append(index)
            seen |= runs
    return [documents[index] for index in sorted(kept)]


def unshared(documents: Sequence[str]) -> list[bool]:
    """For each document whether none of its 13-word runs occurs in any other document."""
    owner: dict[str, int] = {}
    alone = [True] * len(documents)
    for index, text in enumerate(documents):
        for run in word_runs(text):
            first = owner.setdefault(run, index)
            if first != index:
                alone[first] = alone[index] = False
    return alone

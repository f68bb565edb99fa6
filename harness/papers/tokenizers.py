"""Tokenizers that a folder brings: SentencePiece models are data, and are asked whether texts come back from them.

Other files and code that tokenizes are named, and not asked: that would be to run them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.papers.collect import Case
from harness.papers.reading import Paper

if TYPE_CHECKING:
    from harness.corpus.lossless import Folded

_OTHER = re.compile(r"(tokenizer|vocab|tokenmonster)[^/]*\.(json|ya?ml|bin|npz|tiktoken)$", re.I)
#: Code with both ways of a transform of text.
_FUNCTION = re.compile(r"^[ \t]*+def (\w++)\(", re.M)


@dataclass(frozen=True)
class Brought:
    """What a folder's tokenizers do to texts.

    Attributes:
        asked: SentencePiece models that were asked, by name.
        folds: (name, what it folds) of those that fold texts together.
        used: of these, names that the folder's code or words name, or that are the only ones.
        unasked: files that were not asked, and why; one clause each.
    """

    asked: tuple[str, ...]
    folds: tuple[tuple[str, tuple[Folded, ...]], ...]
    used: frozenset[str]
    unasked: tuple[str, ...]


def brought(case: Case) -> Brought:
    """Read the folder's tokenizers."""
    asked, folds, unasked = [], [], []
    for paper in case.papers.files:
        if paper.name.endswith(".model"):
            from harness.corpus.lossless import folded  # numpy and sentencepiece, which most folders need not
            from harness.corpus.tokenizer import processor_of

            try:
                processor = processor_of(paper.folder / paper.name, paper.content)
            except UsageError:
                unasked.append(f"{paper.name}, which is no SentencePiece model")
                continue
            asked.append(paper.name)
            if found := folded(processor):
                folds.append((paper.name, tuple(found)))
        elif _OTHER.search(paper.name):
            unasked.append(f"{paper.name}, a tokenizer that only code can read")
        elif paper.name.endswith(".py") and _transforms(case, paper):
            unasked.append(f"{paper.name}, a transform of text in code")
    words = [
        paper.content.decode("utf-8", "replace") for paper in (*case.papers.code, *case.papers.prose) if paper.content
    ]
    used = {name for name in asked if len(asked) == 1 or any(PurePosixPath(name).name in text for text in words)}
    return Brought(tuple(asked), tuple(folds), frozenset(used), tuple(unasked))


def _transforms(case: Case, paper: Paper) -> bool:
    """Whether a file beside the script defines both ways of an encoding."""
    if paper == case.code.script:
        return False
    names = " ".join(_FUNCTION.findall(paper.content.decode("utf-8", "replace")))
    return "encode" in names and "decode" in names

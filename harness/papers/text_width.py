"""Which of the contest's tokenizers a folder was scored with, by what its logs, its programs and its words name.

A score that does not divide by the text's bytes can only be mended where bytes per token are known, and they are known
for the contest's tokenizers on the contest's text alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.papers import known
from harness.papers.collect import Case
from harness.papers.tokenizers import Brought

_SIZES = ("1024", "4096", "8192")
_NAMED = re.compile(
    r"(?:\bsp|_sp|\bbpe|fineweb)[-_ ]?(?:bpe[-_ ]?)?(1024|4096|8192)(?!\d)|\b(1024|4096|8192)_bpe\b", re.I
)
_LOGGED = re.compile(r"tokenizer_path[:=] ?\S{0,120}?(1024|4096|8192)(?!\d)|fineweb10B_sp(1024|4096|8192)")
_CASE = re.compile(r"caseops|lossless_caps", re.I)


@dataclass(frozen=True)
class Scored:
    """The tokenizer of a score.

    Attributes:
        export: the tokenization of the validation text.
        whole: a log counts the tokens of the whole of it.
    """

    export: known.Export
    whole: bool


def tokenizer_of(case: Case, brought: Brought) -> Scored | None:
    """The contest's tokenizer that the claimed score is of; None where that is open.

    A folder that brings a tokenizer of its own, or names several, leaves it open unless its logs count the tokens of
    one of the known tokenizations.
    """
    counts = [run.val_tokens.value for run in case.headline.runs if run.val_tokens]
    exports = [known.export_of(count) for count in counts]
    if exports and exports[0] is not None and all(one == exports[0] for one in exports):
        return Scored(exports[0], True)
    if counts or brought.asked or brought.unasked:
        return None
    programs = "\n".join(source.text for source in case.sources)
    words = "\n".join("\n".join(p.lines) for p in (*case.papers.metadata, *case.papers.prose[:1]))
    if "fineweb" not in f"{programs}\n{words}".lower():
        return None
    logs = [paper for run in case.headline.runs if (paper := case.papers.named(run.file)) is not None]
    logged = "\n".join(line for paper in logs[:3] for line in paper.lines[:3000] if len(line) < 400)
    for text, pattern in ((logged, _LOGGED), (programs, _NAMED), (words, _NAMED)):
        sizes = {next(filter(None, match.groups())) for match in pattern.finditer(text)}
        if len(sizes) == 1:
            size = sizes.pop()
            if size == "8192" and _CASE.search(f"{programs}\n{words}"):
                return None
            return Scored(next(one for one in known.EXPORTS if one.name == f"sp{size}"), False)
        if sizes:
            return None
    return None

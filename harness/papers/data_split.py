"""data-split from the papers: marks that known overlaps of training and validation documents leave in logs.

A log cannot prove an overlap, and none of its lines excludes one: the strongest outcome is a question with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.papers import known
from harness.papers.collect import Case, finding
from harness.papers.reading import Number, Quote
from harness.papers.reasons import Reason
from harness.record import Finding, Status

CHECK = "data-split"
_CASEOPS = next(one for one in known.EXPORTS if one.name.startswith("CaseOps"))
#: Training shards of a local export that held out 10,000 documents, as issue #2127 found them.
_OVERLAP_SHARDS = 1499
_HELD_OUT = re.compile(r"--val[-_]docs[= ]?\s*10[_,]?000\b")
#: A validation shard that is linked or copied under the name of a training shard (#44).
_RENAMES = re.compile(r"\b(?:ln|cp|mv|rsync)\b")
_SHARDS = re.compile(r"\bfineweb_val_\w*+\.bin\s++\S*\bfineweb_train_\w*+\.bin")
_NEGATED = re.compile(r"\bnot\b|instead|default|prevent|leak|fix|inherit|\bwas\b|never|no ", re.I)
_PRE_QUANT = "pre-quantization adaptation"
NOT_COVERED = ["any overlap that leaves no mark in a log", "calibration on validation tokens that a log does not name"]


def check(case: Case) -> Finding:
    """INCONCLUSIVE where a mark of a known overlap is found; PASS says only that none of those was."""
    runs = case.headline.runs or case.runs
    whole = [run for run in runs if run.val_tokens and abs(run.val_tokens.value - _CASEOPS.tokens) < 20_000]
    marks: list[str] = []
    quotes: list[Quote | Number | None] = []
    odd = [run for run in whole if run.train_shards and run.train_shards.value == _OVERLAP_SHARDS]
    if odd:
        marks.append(
            f"train_shards {_OVERLAP_SHARDS} beside all {known.DOCUMENTS:,} validation documents is the mark of an "
            "export that held out 10,000 of them and trains on the other 40,000 (issue #2127)"
        )
        quotes += [odd[0].train_shards, odd[0].val_tokens]
    if whole and (said := _said(case, _held_out)) is not None:
        marks.append("a command prepares training data with 10,000 documents held out, and 50,000 are scored")
        quotes += [said, whole[0].val_tokens]
    if (renamed := _said(case, _renamed)) is not None:
        marks.append("a command puts a validation shard in the place of a training shard (#44)")
        quotes.append(renamed)
    adapted = [run for run in runs if _PRE_QUANT in run.marks]
    if adapted:
        marks.append(
            "epochs of adaptation before quantization are logged: on validation tokens they train on what is scored "
            "(#1376, #1972), on held-out training tokens they do not (#1554), and the log does not say which"
        )
        quotes += adapted[0].marks[_PRE_QUANT]
    if marks:
        return finding(
            case,
            CHECK,
            Status.INCONCLUSIVE,
            "; ".join(marks),
            reasons=Reason.OVERLAP_MARK,
            quotes=quotes,
            not_covered=NOT_COVERED,
        )
    if not runs:
        return finding(
            case, CHECK, Status.NOT_RUN, "there is no log to look at", reasons=Reason.NO_LOG, not_covered=NOT_COVERED
        )
    headline = f"none of four known marks of an overlap stands in {len(runs)} logs; nothing more is shown"
    power = {"marks_looked_for": 4}
    return finding(case, CHECK, Status.PASS, headline, power=power, not_covered=NOT_COVERED)


def _said(case: Case, means: Callable[[str], object]) -> Quote | None:
    """The first line that means it, of where commands stand: all but Python code and logs."""
    papers = [*case.papers.metadata, *case.papers.prose, *(p for p in case.papers.code if p.name.endswith(".sh"))]
    return next((paper.quote(i) for paper in papers for i, line in enumerate(paper.lines) if means(line)), None)


def _renamed(line: str) -> bool:
    verb = _RENAMES.search(line)
    return verb is not None and _SHARDS.search(line, verb.end()) is not None


def _held_out(line: str) -> bool:
    """The line gives the option, and does not speak against it."""
    match = _HELD_OUT.search(line)
    return match is not None and not _NEGATED.search(line[max(0, match.start() - 120) : match.end() + 120])

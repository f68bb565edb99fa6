"""Everything that is read of one folder, and how a check puts its finding."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.audit.check import finding as make
from harness.audit.measures import metrics_of
from harness.papers.code import Code, read_code
from harness.papers.headline import Headline, find
from harness.papers.logs import Run, read_logs
from harness.papers.metadata import Claims, read_claims
from harness.papers.near import Neighbours
from harness.papers.reading import Number, Papers, Quote, read
from harness.papers.reasons import Reason, ids
from harness.papers.sources import Source, programs
from harness.record import Finding, Scalar, Status, Value, Witness
from harness.rules import Ruleset

#: Quotations that a finding shows.
_MOST_QUOTES = 12


@dataclass(frozen=True)
class Case:
    """One folder, read.

    Attributes:
        ruleset: the rules to judge by, with the rulings that count for this submission.
        record: it claims a record on the ten-minute track; elsewhere the clocks do not bind.
        copies: other folders with the same code, with what is the same ("bytes", "syntax").
        previous: BPB by seed of the record that this one has to beat, and its name.
        neighbours: what other submissions it comes near; None where it was held against none.
    """

    papers: Papers
    claims: Claims
    runs: list[Run]
    headline: Headline
    code: Code
    ruleset: Ruleset
    record: bool
    copies: Mapping[str, str] = field(default_factory=dict)
    previous: tuple[str, Sequence[float]] | None = None
    neighbours: Neighbours | None = None

    @cached_property
    def carried(self) -> list[Run]:
        """The runs that the claim rests on, and those of the same seeds where training has a log of its own.

        Where the rules ask for a loss that has to be reached: all runs that print one.
        """
        if self.ruleset.significance.deciding.target_nats is not None:
            return [run for run in self.runs if run.loss is not None]
        runs = self.headline.runs
        seeds = {run.seed.value for run in runs if run.seed}
        if all(run.train_ms or run.totals for run in runs):
            return runs
        more = [one for one in self.runs if one.seed and one.seed.value in seeds and one not in runs]
        return [*runs, *more]

    @cached_property
    def sources(self) -> list[Source]:
        """The programs of the folder, unpacked: the script first, and what it needs."""
        return programs(self.papers, self.code.needed)


def open_case(folder: Path, ruleset: Ruleset) -> Case:
    """Read a folder.

    Raises:
        UsageError: there is no such folder, or it is empty.
    """
    papers = read(folder)
    claims = read_claims(papers)
    runs = read_logs(papers.logs)
    carried = find(claims, runs)
    rules = ruleset.judging(claims.date, folder.resolve().name)
    return Case(papers, claims, runs, carried, read_code(papers), rules, _claims_record(folder, claims))


def same_code(cases: Sequence[Case]) -> list[dict[str, str]]:
    """For each case the others with the same script: "byte for byte", or "but for comments and layout"."""
    found = []
    for case in cases:
        others: dict[str, str] = {}
        for other in cases:
            if other is case or not case.code.sha256:
                continue
            if other.code.sha256 == case.code.sha256:
                others[other.papers.path.name] = "byte for byte"
            elif case.code.same and other.code.same == case.code.same:
                others[other.papers.path.name] = "but for comments and layout"
        found.append(others)
    return found


def _claims_record(folder: Path, claims: Claims) -> bool:
    """A record of the ten-minute track is claimed: by the track's name in the file or in the folder's path."""
    parts = " ".join(folder.resolve().parts[-3:])
    if claims.non_record or re.search(r"non[-_]?record", parts, re.I):
        return False
    return "10min" in claims.track.lower() or "track_10min" in parts or not claims.track


def if_claimed(case: Case, status: Status) -> Status:
    """FAIL only for runs that carry the claimed score: another run's bytes and times convict nobody."""
    return status if case.headline.matched or status != Status.FAIL else Status.INCONCLUSIVE


def finding(
    case: Case,
    check: str,
    status: Status,
    headline: str,
    *,
    reasons: Reason | Sequence[Reason] = (),
    quotes: Sequence[Quote | Number | None] = (),
    metrics: Mapping[str, Value] | None = None,
    power: Mapping[str, Value] | None = None,
    data: Mapping[str, Any] | None = None,
    not_covered: Sequence[str] = (),
) -> Finding:
    """A finding with its quotations; a FAIL gets them, and the arithmetic in `data`, as its witness.

    Raises:
        ValueError: something is not in order, and no reason is named.
    """
    named = ids(reasons)
    if status in (Status.FAIL, Status.INCONCLUSIVE, Status.NOT_RUN) and not named:
        raise ValueError(f"{check}: {status} without a reason: {headline}")
    told = [one.quote if isinstance(one, Number) else one for one in quotes if one is not None]
    told = list(dict.fromkeys(told))[:_MOST_QUOTES]
    lines: list[Scalar] = [str(one) for one in told]
    witness = None
    if status == Status.FAIL:
        shown = [{"file": one.file, "line": one.line, "text": one.text} for one in told]
        witness = Witness(kind="evidence", summary=headline, data={**(data or {}), "quotes": shown})
    return make(
        case, check, status, headline,
        metrics={**(metrics or {}), **({"reasons": named} if named else {}), **({"evidence": lines} if lines else {})},
        witness=witness, power=power, not_covered=not_covered,
    )  # fmt: skip


def reasoned(found: Finding, *reasons: Reason) -> Finding:
    """The finding with further reasons."""
    before: list[Scalar] = list(found.value("reasons") or [])
    more: list[Scalar] = [one for one in ids(reasons) if one not in before]
    kept = [one for one in found.metrics if one.id != "reasons"]
    return found.model_copy(update={"metrics": [*metrics_of({"reasons": [*before, *more]}), *kept]})

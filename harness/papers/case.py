"""Everything that was read of one folder, and how a check puts its finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.audit.evidence import finding as make
from harness.papers.code import Code
from harness.papers.headline import Headline
from harness.papers.logs import Run
from harness.papers.metadata import Claims
from harness.papers.reading import Number, Papers, Quote
from harness.record import Finding, Metric, Scalar, Status, Witness
from harness.rules import Ruleset

#: Quotations that a finding shows.
_MOST_QUOTES = 12


@dataclass(frozen=True)
class Case:
    """One folder, read.

    Attributes:
        record: it claims a record on the ten-minute track; elsewhere the clocks do not bind.
        copies: other folders with the same code, with what is the same ("bytes", "syntax").
        previous: BPB by seed of the record that this one has to beat, and its name.
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

    @cached_property
    def carried(self) -> list[Run]:
        """The runs that the claim rests on, and those of the same seeds where training has a log of its own."""
        runs = self.headline.runs
        seeds = {run.seed.value for run in runs if run.seed}
        if all(run.train_ms or run.totals for run in runs):
            return runs
        more = [one for one in self.runs if one.seed and one.seed.value in seeds and one not in runs]
        return [*runs, *more]


def if_claimed(case: Case, status: Status) -> Status:
    """FAIL only for runs that carry the claimed score: another run's bytes and times convict nobody."""
    return status if case.headline.matched or status != Status.FAIL else Status.INCONCLUSIVE


def finding(
    case: Case,
    check: str,
    rule: str,
    status: Status,
    headline: str,
    *,
    quotes: Sequence[Quote | Number | None] = (),
    metrics: Mapping[str, Metric] | None = None,
    power: Mapping[str, Metric] | None = None,
    data: Mapping[str, Any] | None = None,
    not_covered: Sequence[str] = (),
) -> Finding:
    """A finding with its quotations; a FAIL gets them, and the arithmetic in `data`, as its witness."""
    told = [one.quote if isinstance(one, Number) else one for one in quotes if one is not None]
    told = list(dict.fromkeys(told))[:_MOST_QUOTES]
    lines: list[Scalar] = [str(one) for one in told]
    witness = None
    if status == Status.FAIL:
        shown = [{"file": one.file, "line": one.line, "text": one.text} for one in told]
        witness = Witness(kind="evidence", summary=headline, data={**(data or {}), "quotes": shown})
    return make(
        case, check, rule, status, headline,
        metrics={**(metrics or {}), **({"evidence": lines} if lines else {})},
        witness=witness, power=power, not_covered=not_covered,
    )  # fmt: skip

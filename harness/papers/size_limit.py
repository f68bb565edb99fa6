"""size-limit from the papers: what the log adds up, what the folder ships, and what a wrapper of it weighs."""

from __future__ import annotations

from harness.audit.practices import Seen, ruled
from harness.papers import timers
from harness.papers.collect import Case, finding, if_claimed
from harness.papers.logs import Run
from harness.papers.reading import Number, Quote
from harness.papers.reasons import Reason
from harness.record import Finding, Scalar, Status, Value

CHECK = "size-limit"

#: How the code is counted, in words.
_SHIPPED, _ALL_FILES = "with the script as shipped", "with every file that the script names"
_WRAPPED = "with the script in a wrapper"
NOT_COVERED = [
    "the tokenizer file, which the contest does not count (issue #43)",
    "the sealed artifact itself, which the folder does not hold: its bytes are as the log prints them",
]


def check(case: Case) -> Finding:
    """FAIL where the bytes are over the limit however the code is counted; where only some counts are, a practice."""
    limit = case.ruleset.limits.total_bytes
    added = [run for run in case.carried if run.total is not None]
    claimed = case.claims.bytes_total
    if not added:
        return _claimed_only(case, limit)
    worst = max(added, key=lambda run: run.total.bytes.value if run.total else 0)
    assert worst.total is not None
    totals: dict[str, int] = {"as the log adds up": int(worst.total.bytes.value)}
    model = _model(worst)
    if model is not None:
        for name, code in (
            (_SHIPPED, case.code.shipped),
            (_ALL_FILES, case.code.all_files),
        ):
            if code is not None:
                totals[name] = int(model.value) + code
        if max(totals.values()) > limit and case.code.wrapped is not None:
            totals[_WRAPPED] = int(model.value) + case.code.wrapped
    if claimed is not None:
        totals["as claimed"] = int(claimed.value)
    rows: list[list[Scalar]] = [[name, value] for name, value in totals.items()]
    metrics: dict[str, Value] = {"totals": rows}
    metrics |= {"limit_bytes": limit, "runs": len(added)}
    if case.code.executes:
        metrics["runs_files"] = ", ".join(paper.name for paper in case.code.executes)
    over = {name: value for name, value in totals.items() if value > limit}
    quotes: list[Quote | Number | None] = [worst.total.bytes, model, claimed.number if claimed else None]
    told = "; ".join(f"{value:,} {name}" for name, value in totals.items())
    words = timers.words(case, "size")
    denied = [one for one in words if not one.kept]
    if not over and denied and _binds(case):
        headline = f"at most {max(totals.values()):,} bytes of {limit:,} by every count{timers.told(words, None)}"
        quotes += [one.at for one in denied]
        return finding(
            case,
            CHECK,
            Status.INCONCLUSIVE,
            headline,
            reasons=Reason.AUTHOR_SAYS_OVER,
            quotes=quotes,
            metrics=metrics,
            not_covered=NOT_COVERED,
        )
    if not over:
        headline = f"at most {max(totals.values()):,} bytes of {limit:,} by every count"
        return finding(
            case, CHECK, Status.PASS, headline, quotes=quotes, metrics=metrics,
            power={"smallest_excess": 1}, not_covered=NOT_COVERED,
        )  # fmt: skip
    counted = [value for name, value in totals.items() if name != "as claimed"]
    # A minifier may halve what the wrapper that is built here weighs, and is not run here.
    least = (int(model.value) if model else 0) + (case.code.wrapped or 0) // 2
    shipped = case.ruleset.limits.size_convention == "shipped"
    # A wrapper that might be made is no defence where the author's own number is over, and what is shipped is, too.
    said_over = claimed is not None and min(int(claimed.value), int(worst.total.bytes.value)) > limit
    admitted = said_over and totals.get(_SHIPPED, 0) > limit
    if admitted or (min(counted) > limit and (shipped or least > limit)):
        counts = "by every count" if len(over) == len(totals) else "by every count of the run"
        every = "by the log, by submission.json and as it is shipped" if admitted else counts
        headline = f"over the limit of {limit:,} bytes {every}: {told}{timers.told(words, 'the count is over')}"
        status = if_claimed(case, Status.FAIL if _binds(case) else Status.INCONCLUSIVE)
        data = {"limit": limit, "totals": totals}
        return finding(
            case,
            CHECK,
            status,
            headline,
            reasons=Reason.OVER_THE_LIMIT,
            quotes=quotes,
            metrics=metrics,
            data=data,
            not_covered=NOT_COVERED,
        )
    fitting = "; ".join(f"{value:,} {name}" for name, value in totals.items() if value <= limit)
    headline = f"{'; '.join(f'{value:,} {name}' for name, value in over.items())}: over {limit:,}; "
    headline += f"but {fitting or 'a minified script in a wrapper may fit'}"
    status = Status.INCONCLUSIVE
    if fitting and not (shipped and _SHIPPED in over):
        practice = "byte_convention" if _all_fit(case, model, limit) else "files_not_counted"
        status, headline, _ = ruled(case.ruleset, [Seen(practice, headline)])
    return finding(
        case,
        CHECK,
        if_claimed(case, status),
        headline,
        reasons=Reason.OVER_THE_LIMIT,
        quotes=quotes,
        metrics=metrics,
        not_covered=NOT_COVERED,
    )


def _all_fit(case: Case, model: Number | None, limit: int) -> bool:
    """Whether the model, the script in a wrapper and every other file that it needs are within the limit together."""
    code = case.code
    if model is None or code.wrapped is None or code.shipped is None or code.all_files is None:
        return False
    return int(model.value) + code.wrapped + max(0, code.all_files - code.shipped) <= limit


def _binds(case: Case) -> bool:
    """The limit is that of records and of the 16 MB track for everything else."""
    place = " ".join(case.papers.path.resolve().parts[-3:])
    return case.record or "16mb" in f"{case.claims.track} {place}".lower()


def _model(run: Run) -> Number | None:
    """Bytes of the compressed model of the format that the total is of; else the total less the code."""
    assert run.total is not None
    total = run.total
    if (exact := run.models.get(total.format)) is not None:
        return exact
    code = run.code.get("compressed") or run.code.get("")
    if code is None:
        return None
    return Number(total.bytes.value - code.value, 0.5, total.bytes.quote)


def _claimed_only(case: Case, limit: int) -> Finding:
    claimed = case.claims.bytes_total
    if claimed is None:
        why = "neither a log nor submission.json tells the bytes"
        return finding(case, CHECK, Status.NOT_RUN, why, reasons=Reason.BYTES_NOT_SHOWN, not_covered=NOT_COVERED)
    over = "over the limit of" if claimed.value > limit else "of"
    reasons = [Reason.BYTES_NOT_ADDED_UP, *([Reason.OVER_THE_LIMIT] if claimed.value > limit else [])]
    headline = f"{claimed.value:,.0f} bytes are claimed, {over} {limit:,}, and no log of the claimed run adds them up"
    return finding(
        case, CHECK, Status.INCONCLUSIVE, headline, reasons=reasons, quotes=[claimed.number], not_covered=NOT_COVERED
    )

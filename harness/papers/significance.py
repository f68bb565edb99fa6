"""significance from the papers: are there seeds enough for a record, and do they beat the record that is named?"""

from __future__ import annotations

from harness.audit import statistics
from harness.papers.collect import Case, finding
from harness.papers.known import implied_width
from harness.papers.reading import Number, Quote
from harness.record import Finding, Status, Value

CHECK = "significance"


def scores(case: Case) -> dict[str, float]:
    """BPB of each seed of the claim: from the logs that carry it, or else as claimed."""
    carried = case.headline.carried if case.headline.matched else []
    logged = {_seed(one.run.file, one.run.seed): one.metric.bpb.value for one in carried}
    claimed = {one.seed: one.val_bpb.value for one in case.claims.per_seed if one.val_bpb}
    return logged if len(logged) >= len(claimed) else claimed


def _seed(file: str, seed: Number | None) -> str:
    return f"{seed.value:.0f}" if seed else file


def check(case: Case) -> Finding:
    """INCONCLUSIVE with too few seeds; with a previous record PASS or FAIL by the deciding bar of the ruleset."""
    wanted, found = case.ruleset.significance, scores(case)
    metrics: dict[str, Value] = {"seeds": len(found)}
    quotes: list[Quote | Number | None] = [one.metric.bpb for one in case.headline.carried]
    if not case.record:
        return finding(case, CHECK, Status.NOT_APPLICABLE, "no record is claimed", metrics=metrics)
    values = list(found.values())
    if values:
        metrics["mean_bpb"] = round(statistics.mean(values), 8)
    if len(values) > 1:
        metrics["deviation"] = round(statistics.deviation(values), 8)
    if len(values) < wanted.min_seeds:
        headline = f"{len(values)} of {wanted.min_seeds} seeds are shown; chance cannot be told from progress"
        return finding(case, CHECK, Status.INCONCLUSIVE, headline, metrics=metrics, quotes=quotes)
    if case.previous is None:
        headline = f"{len(values)} seeds; no previous record is given that this score would have to beat"
        return finding(case, CHECK, Status.NOT_APPLICABLE, headline, metrics=metrics, quotes=quotes)
    name, before = case.previous
    width = next(
        (implied_width(m.loss.value, m.bpb.value) for one in case.headline.carried if (m := one.metric).loss), None
    )
    bar = wanted.bar[wanted.decides]
    if width is None and bar.margin_nats and bar.margin_unit == "token":
        headline = "the bar is in nats per token, and no log tells the bytes per token"
        return finding(case, CHECK, Status.INCONCLUSIVE, headline, metrics=metrics, quotes=quotes)
    margin = statistics.margin_bpb(bar.margin_nats, bar.margin_unit, width or 1.0)
    try:
        test = statistics.improvement(values, before, margin)
    except ValueError as error:
        return finding(case, CHECK, Status.INCONCLUSIVE, str(error), metrics=metrics, quotes=quotes)
    metrics |= {"previous_record": name, "previous_mean": statistics.mean(before), "p": test.p_value}
    numbers = f"mean {statistics.mean(values):.5f} against {statistics.mean(before):.5f} BPB of {name}"
    numbers += f": p = {test.p_value:.3g}"
    shown = test.p_value < bar.p_value
    status = Status.PASS if shown else Status.FAIL if test.refuted(bar.p_value) else Status.INCONCLUSIVE
    headline = f"{numbers}; {bar.title.lower()} at p < {bar.p_value:g} is {'' if shown else 'not '}shown"
    not_covered = ["whether the seeds were chosen among more"]
    if test.exact is not None:
        not_covered.append(
            f"the spread of {name}: one number is known, and taken to spread from seed to seed as this does"
        )
    if status == Status.INCONCLUSIVE:
        headline += f"; if the one number of {name} were exact p would be {test.exact:.3g}: further seeds of it decide"
    return finding(
        case,
        CHECK,
        status,
        headline,
        metrics=metrics,
        quotes=quotes,
        data={"seeds": found, "previous": list(before), "margin_bpb": margin, "p": test.p_value},
        not_covered=not_covered,
    )

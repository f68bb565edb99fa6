"""significance from the papers: are there seeds enough for a record, and do they beat the record that is named?

How many runs the folder shows is counted, and how the claim was chosen among them is said; a claim that is the best of
several is a practice, and the ruleset says what it makes of it. Beside the p of Welch's test stands one that holds
whenever somebody stopped adding seeds.
"""

from __future__ import annotations

from harness.audit import bars, statistics
from harness.audit.looks import anytime
from harness.audit.practices import ruled
from harness.papers import looks
from harness.papers.collect import Case, finding, reasoned
from harness.papers.known import implied_width
from harness.papers.reading import Number, Quote
from harness.papers.reasons import Reason
from harness.record import SEVERITY, Finding, Status, Value, Witness
from harness.rules import Significance

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
    shown = looks.count(case)
    return _with_choice(case, _tested(case, shown), shown)


def _with_choice(case: Case, found: Finding, shown: looks.Looks) -> Finding:
    """The finding with what is said of the choice; a practice makes it worse, never better."""
    if not shown.seen or not case.record:
        return found
    status, words, witness = ruled(case.ruleset, shown.seen)
    worst = min(status, found.status, key=SEVERITY.index)
    if status == Status.FAIL:
        told = [one.quote if isinstance(one, Number) else one for one in shown.quotes if one is not None]
        quotes = [{"file": one.file, "line": one.line, "text": one.text} for one in told[:12]]
        witness = Witness(kind="evidence", summary=words, data={"chosen": shown.told, "quotes": quotes})
    headline = f"{words} {found.headline}" if worst == status else f"{found.headline}. {words}"
    kept = found.witness if found.status == Status.FAIL else witness
    return reasoned(found, Reason.BEST_OF_SEVERAL).model_copy(
        update={"status": worst, "headline": headline, "witness": kept}
    )


def _target(case: Case, wanted: Significance) -> Finding:
    """All runs' last losses against a fixed one."""
    bar = wanted.deciding
    losses = [run.loss for run in case.carried if run.loss is not None]
    metrics: dict[str, Value] = {"seeds": len(losses)}
    if len(losses) < wanted.min_seeds:
        headline = f"{len(losses)} of {wanted.min_seeds} runs are shown; chance cannot be told from progress"
        return finding(
            case, CHECK, Status.INCONCLUSIVE, headline, reasons=Reason.TOO_FEW_SEEDS, metrics=metrics, quotes=losses
        )
    try:
        found = bars.reached([one.value for one in losses], bar)
    except ValueError as error:
        return finding(
            case, CHECK, Status.INCONCLUSIVE, str(error), reasons=Reason.SPREAD_UNKNOWN, metrics=metrics, quotes=losses
        )
    status = Status.PASS if found.met else Status.FAIL if found.missed else Status.INCONCLUSIVE
    reason = () if found.met else Reason.NOT_BEATEN if found.missed else Reason.SPREAD_UNKNOWN
    return finding(
        case, CHECK, status, found.sentence, reasons=reason, quotes=losses,
        metrics={**metrics, "mean_loss": found.mean, "p": found.test.p_value},
        data={"losses": [one.value for one in losses], "target": found.target, "p": found.test.p_value},
        not_covered=["runs that the folder does not show"],
    )  # fmt: skip


def _tested(case: Case, shown: looks.Looks) -> Finding:
    """The seeds against the previous record, or the loss that has to be reached, whatever they were chosen from."""
    wanted, found = case.ruleset.significance, scores(case)
    if case.record and wanted.deciding.target_nats is not None:
        return _target(case, wanted)
    metrics: dict[str, Value] = {"seeds": len(found), "chosen": shown.told}
    quotes: list[Quote | Number | None] = [*shown.quotes, *(one.metric.bpb for one in case.headline.carried)]
    if not case.record:
        return finding(case, CHECK, Status.NOT_APPLICABLE, "no record is claimed", metrics=metrics)
    values = list(found.values())
    if values:
        metrics["mean_bpb"] = round(statistics.mean(values), 8)
    if len(values) > 1:
        metrics["deviation"] = round(statistics.deviation(values), 8)
    if len(values) < wanted.min_seeds:
        headline = f"{len(values)} of {wanted.min_seeds} seeds are shown; chance cannot be told from progress"
        return finding(
            case, CHECK, Status.INCONCLUSIVE, headline, reasons=Reason.TOO_FEW_SEEDS, metrics=metrics, quotes=quotes
        )
    if case.previous is None:
        headline = f"{len(values)} seeds; no previous record is given that this score would have to beat"
        return finding(case, CHECK, Status.NOT_APPLICABLE, headline, metrics=metrics, quotes=quotes)
    name, before = case.previous
    width = next(
        (implied_width(m.loss.value, m.bpb.value) for one in case.headline.carried if (m := one.metric).loss), None
    )
    bar = wanted.deciding
    if width is None and bar.margin_nats and bar.margin_unit == "token":
        headline = "the bar is in nats per token, and no log tells the bytes per token"
        return finding(
            case, CHECK, Status.INCONCLUSIVE, headline, reasons=Reason.SPREAD_UNKNOWN, metrics=metrics, quotes=quotes
        )
    margin = statistics.margin_bpb(bar.margin_nats, bar.margin_unit, width or 1.0)
    try:
        test = statistics.improvement(values, before, margin)
    except ValueError as error:
        return finding(
            case, CHECK, Status.INCONCLUSIVE, str(error), reasons=Reason.SPREAD_UNKNOWN, metrics=metrics, quotes=quotes
        )
    metrics |= {"previous_record": name, "previous_mean": statistics.mean(before), "p": test.p_value}
    numbers = f"mean {statistics.mean(values):.5f} against {statistics.mean(before):.5f} BPB of {name}"
    numbers += f": p = {test.p_value:.3g}"
    any_look = anytime(test.p_value, len(values), wanted.min_seeds, wanted.max_seeds)
    metrics["p_any_look"] = any_look
    enough = test.p_value < bar.p_value
    status = Status.PASS if enough else Status.FAIL if test.refuted(bar.p_value) else Status.INCONCLUSIVE
    headline = f"{numbers}; {bar.title.lower()} at p < {bar.p_value:g} is {'' if enough else 'not '}shown"
    if enough and any_look >= bar.p_value:
        headline += f" if the number of seeds was fixed before; if seeds were added until it passed, p = {any_look:.3g}"
    not_covered = ["runs that the folder does not show"]
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
        reasons=Reason.SPREAD_UNKNOWN if status == Status.INCONCLUSIVE else () if enough else Reason.NOT_BEATEN,
        metrics=metrics,
        quotes=quotes,
        data={"seeds": found, "previous": list(before), "margin_bpb": margin, "p": test.p_value},
        not_covered=not_covered,
    )

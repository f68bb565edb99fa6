"""significance: do the seeds beat the previous record by more than chance, and by as much as the ruleset asks?

Everything is compared in bits per byte, the one unit that does not depend on the tokenizer. A margin in nats per token
is taken with the submission's own bytes per token, as the contest's authors take it. Both of the contest's bars are
shown, in both units; the ruleset says which bar, in which unit, decides. Beside its p stands one that holds whenever
somebody stopped adding seeds (`harness.audit.looks`); it decides nothing, since nobody knows when that was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.audit import bars, statistics
from harness.audit.bars import Result
from harness.audit.check import finding, not_run
from harness.audit.claimed import claims_record
from harness.audit.evidence import Evidence, PreviousRecord
from harness.audit.looks import anytime
from harness.record import Finding, Scalar, Status, Value, Witness
from harness.rules import Bar

CHECK = "significance"

#: Two scores are of the same text when its bytes agree to this; the contest's own tokenizers agree to 0.006 %.
_SAME_TEXT = 1e-3

#: Seeds of one configuration read the same tokens and bytes; what is left is rounding.
_SAME_WIDTH = 1e-6


def check(evidence: Evidence) -> Finding:
    """PASS when the deciding bar is met; FAIL only where a record is claimed and the bar is missed."""
    previous, seeds = evidence.previous, evidence.seeds
    wanted = evidence.ruleset.significance
    if (bar := wanted.deciding).target_nats is not None:
        return _target(evidence, bar)
    if previous is None:
        return _finding(
            evidence, Status.NOT_APPLICABLE, "no previous record is given that this score would have to beat"
        )
    if previous.scale != evidence.scale:
        headline = f"{previous.name} is a score of {previous.scale} scale, and this is one of {evidence.scale} scale"
        return _finding(evidence, Status.NOT_APPLICABLE, headline)
    if not seeds:
        return not_run(evidence, CHECK, "no seed has a score")
    losses = [seed.val_bpb for seed in seeds]
    metrics: dict[str, Value] = {"previous_record": previous.name, "seeds": len(seeds)}
    try:
        width = _comparable(evidence, previous)
        before = statistics.mean(previous.val_bpb)
        mean = statistics.mean(losses)
        metrics |= {
            "previous_mean": before,
            "mean_bpb": mean,
            "mean_loss": statistics.nats_per_token(mean, width),
            "improvement_bpb": before - mean,
            "improvement_per_token": statistics.nats_per_token(before - mean, width),
            "improvement_per_byte": statistics.nats_per_byte(before - mean),
        }
        if len(seeds) < 2:
            raise ValueError("a single seed has no spread, so nothing can be said about chance")
        metrics["deviation"] = statistics.deviation(losses)
        results = bars.results(losses, previous.val_bpb, width, evidence.ruleset.significance, seeds=previous.seeds)
    except ValueError as error:
        return _finding(evidence, Status.INCONCLUSIVE, str(error), metrics=metrics)
    decisive = bars.decisive(results, wanted)
    metrics |= _told(results)
    needed = decisive.margin + decisive.test.needed(decisive.bar.p_value)
    metrics["smallest_improvement"] = needed
    metrics["p_any_look"] = anytime(decisive.test.p_value, len(seeds), wanted.min_seeds, wanted.max_seeds)
    figures = {"seeds": _figure(evidence, previous, decisive, mean, before)}
    p, bar = decisive.test.p_value, decisive.bar
    ask = f"an improvement{_over(decisive)} over {previous.name} at p < {bar.p_value:g}"
    numbers = f"{len(seeds)} seeds, mean {mean:.5f} against {before:.5f} BPB: p = {p:.3g}"
    if len(seeds) < wanted.min_seeds:
        headline = f"{numbers}; the rule asks for {wanted.min_seeds} seeds of one configuration"
        return _finding(evidence, Status.INCONCLUSIVE, headline, metrics=metrics, figures=figures)
    if decisive.met:
        return _finding(evidence, Status.PASS, f"{numbers}, {ask} is shown", metrics=metrics, figures=figures)
    headline = f"{numbers}, {ask} is not shown"
    if not decisive.missed:
        headline += (
            f"; one number of {previous.name} is known, and if that were exact p would be {decisive.test.exact:.3g}: "
            "further seeds of it decide"
        )
        return _finding(evidence, Status.INCONCLUSIVE, headline, metrics=metrics, figures=figures)
    if not claims_record(evidence.claims, evidence.scale):
        return _finding(
            evidence, Status.NOT_APPLICABLE, f"{headline}; no record is claimed", metrics=metrics, figures=figures
        )
    witness = Witness(
        kind="seeds",
        summary=f"mean {mean:.6f} BPB; {_limit(decisive, before):.6f} or less would have met the bar at this spread",
        data={
            "bar": decisive.name,
            "source": bar.source,
            "seeds": {str(seed.seed): seed.val_bpb for seed in seeds},
            "previous": {"name": previous.name, "val_bpb": list(previous.val_bpb)},
            "margin_bpb": decisive.margin,
            "statistic": decisive.test.statistic,
            "degrees": decisive.test.degrees,
            "p": p,
            "allowed": bar.p_value,
        },
    )
    return _finding(evidence, Status.FAIL, headline, metrics=metrics, witness=witness, figures=figures)


def _target(evidence: Evidence, bar: Bar) -> Finding:
    """The seeds' losses against a fixed one."""
    least = evidence.ruleset.significance.min_seeds
    losses = {str(seed.seed): seed.val_loss for seed in evidence.seeds}
    metrics: dict[str, Value] = {"seeds": len(losses)}
    if evidence.scale != "record":
        headline = f"the loss that has to be reached is one of record scale, and this run is of {evidence.scale} scale"
        return _finding(evidence, Status.NOT_APPLICABLE, headline, metrics=metrics)
    if len(losses) < least:
        headline = f"{len(losses)} of {least} seeds; chance cannot be told from progress"
        return _finding(evidence, Status.INCONCLUSIVE, headline, metrics=metrics)
    try:
        found = bars.reached(list(losses.values()), bar)
    except ValueError as error:
        return _finding(evidence, Status.INCONCLUSIVE, str(error), metrics=metrics)
    metrics |= {"mean_loss": found.mean, "p": found.test.p_value}
    if found.met or not found.missed:
        status = Status.PASS if found.met else Status.INCONCLUSIVE
        return _finding(evidence, status, found.sentence, metrics=metrics)
    if not claims_record(evidence.claims, evidence.scale):
        return _finding(evidence, Status.NOT_APPLICABLE, f"{found.sentence}; no record is claimed", metrics=metrics)
    witness = Witness(
        kind="target",
        summary=f"mean {found.mean:.6f} nats per token; the rule asks for {found.target:g} at most",
        data={"source": bar.source, "seeds": losses, "target": found.target, "p": found.test.p_value},
    )
    return _finding(evidence, Status.FAIL, found.sentence, metrics=metrics, witness=witness)


def _comparable(evidence: Evidence, previous: PreviousRecord) -> float:
    """Bytes per token of the submission; ValueError where its seeds, or they and the record, do not compare."""
    seeds, configurations = evidence.seeds, evidence.configurations
    most = evidence.ruleset.significance.max_seeds
    numbers = [seed.seed for seed in seeds]
    if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise ValueError(f"seed {twice[0]} stands for {numbers.count(twice[0])} scores; a seed counts once")
    if len(seeds) > most:
        raise ValueError(f"{len(seeds)} seeds are more than {most}, and which of them count is not settled")
    if missing := [number for number in numbers if configurations and number not in configurations]:
        raise ValueError(f"what seed {missing[0]} ran with is not known, unlike that of other seeds")
    statistics.sample([seed.val_bpb for seed in seeds], {number: configurations.get(number, "") for number in numbers})
    statistics.sample(previous.val_bpb)
    widths = {str(seed.seed): statistics.bytes_per_token(seed.val_loss, seed.val_bpb) for seed in seeds}
    low, high = min(widths, key=widths.__getitem__), max(widths, key=widths.__getitem__)
    if widths[high] > widths[low] * (1 + _SAME_WIDTH):
        raise ValueError(
            f"the seeds are of different data: {widths[low]:.5f} bytes per token (seed {low}), "
            f"{widths[high]:.5f} (seed {high})"
        )
    width = widths[low]
    if previous.tokens < 1 or previous.bytes < 1:
        raise ValueError(f"{previous.name} has {previous.tokens} tokens and {previous.bytes} bytes")
    size = width * len(evidence.trace.scored)
    if abs(size - previous.bytes) > _SAME_TEXT * previous.bytes:
        raise ValueError(
            f"{previous.name} was scored on {previous.bytes:,} bytes of text and this on {round(size):,}: not the same"
        )
    return width


def _told(results: Sequence[Result]) -> dict[str, Value]:
    rows: list[list[Scalar]] = []
    for one in results:
        asked = f"more than {one.bar.margin_nats:g} nats per {one.unit}" if one.margin else "any improvement"
        rows.append([asked, one.test.p_value, one.bar.p_value, one.met, one.margin])
    return {"bars": rows}


def _over(result: Result) -> str:
    return f" of more than {result.bar.margin_nats:g} nats per {result.unit}" if result.margin else ""


def _limit(result: Result, before: float) -> float:
    """The mean, in BPB, that would just have met the bar at the spread that the seeds have."""
    return before - result.margin - result.test.needed(result.bar.p_value)


def _figure(
    evidence: Evidence, previous: PreviousRecord, decisive: Result, mean: float, before: float
) -> dict[str, Any]:
    limit = _limit(decisive, before)
    shown: list[dict[str, Any]] = [
        {"label": f"seed {seed.seed}", "value": seed.val_bpb, "limit": limit, "status": "reference"}
        for seed in evidence.seeds
    ]
    status = "PASS" if decisive.met else "FAIL"
    shown.append({"label": "mean of the seeds", "value": mean, "limit": limit, "status": status})
    shown.append({"label": f"previous record, {previous.name}", "value": before, "limit": None, "status": "reference"})
    title = "Seeds against the mean that would meet the bar at this spread"
    return {"type": "dots", "title": title, "unit": "BPB", "bars": shown}


def _finding(
    evidence: Evidence,
    status: Status,
    headline: str,
    *,
    metrics: Mapping[str, Value] | None = None,
    witness: Witness | None = None,
    figures: Mapping[str, Any] | None = None,
) -> Finding:
    not_covered = [
        "how many seeds were tried and not reported",
        "choices that were tuned on the validation text",
        "the waiver for pure systems work (README), which people decide on",
    ]
    power: dict[str, Value] = {"seeds": len(evidence.seeds)}
    if evidence.previous is not None:
        power["previous_seeds"] = len(evidence.previous.val_bpb)
        if len(evidence.previous.val_bpb) == 1:
            what = f"a mean of {k} seeds" if (k := evidence.previous.seeds) > 1 else "one number"
            not_covered.append(
                f"the spread of {evidence.previous.name}: {what} of it is known, its seeds are taken to spread as the "
                "new ones do; if they spread three times as much, p = 0.01 stands for 0.06 (three seeds) to 0.12 (five)"
            )
    if evidence.seeds and not evidence.configurations:
        not_covered.append("whether all seeds ran one configuration: what they ran with is not recorded")
    return finding(
        evidence,
        CHECK,
        status,
        headline,
        metrics=metrics,
        witness=witness,
        power=power,
        not_covered=not_covered,
        figures=figures,
    )

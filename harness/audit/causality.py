"""causality: lie about the future inside the submission's own evaluation, and see whether the past moves.

A probe at t replaces x_t and what follows ("suffix"), or x_t alone by a token of another class ("swap"). Rows up to
and including t may not move, in the submission's own processing order. A row after t has to move, or the probe had
no teeth.
"""

from __future__ import annotations

from typing import Any

from harness.audit.evidence import Evidence, finding, not_run
from harness.record import Finding, Metric, Status, Witness
from harness.referee import price
from harness.referee.comparator import ProbeResult
from harness.sandbox.protocol import Rows

CHECK, RULE = "causality", "C1"
_CONTEXT = 12  # tokens of text shown on either side of a flip
_AFFECTED = 20  # rows listed in a witness
_TOO_NOISY = 1e-2  # nats; with a noise floor above this, silence proves nothing

_NOT_COVERED = [
    "leaks that only act at positions that were not probed",
    "what the artifact itself knows of the validation text (data-split, artifact-independence)",
    "rows that are causal but not a distribution (normalization)",
]


def check(evidence: Evidence) -> Finding:
    """FAIL with a witness when a row moved that must not; INCONCLUSIVE without a probe that had teeth."""
    # A row that moved stays moved when the submission breaks afterwards.
    made = [result for result in evidence.probes if result.ran and (result.violated or result.error is None)]
    if not evidence.probes:
        return not_run(evidence, CHECK, RULE, "no flip was made")
    leaking = [result for result in made if result.violated]
    toothless = [result for result in made if not result.control]
    power = {
        "probes planned": len(evidence.probes),
        "probes made": len(made),
        "probes with a positive control": len(made) - len(toothless),
        "rows compared": sum(result.compared for result in made),
        "rows held by construction": sum(result.by_construction for result in made),
        "noise floor, nats": evidence.flip_tolerance,
    }
    whole = [result for result in made if not result.probe.split]
    sampled = sum(result.control and result.probe.sampled for result in made)
    power["of them at random positions"] = sampled
    if whole:
        power["probes in evaluations that are never split"] = len(whole)
        power["noise floor there, nats"] = max(result.tolerance for result in whole)
    if leaking:
        return _leak(evidence, made, leaking, power)
    broken = sum(result.error is not None for result in evidence.probes)
    unconfirmed = sum(result.unconfirmed for result in made)
    metrics = {"rows that moved before the flip": unconfirmed, "probes that broke the submission": broken}
    skipped = len(evidence.probes) - len(made) - broken
    not_covered = list(_NOT_COVERED)
    not_covered.append(
        "a submission that feels its process being split, and behaves from then on, where none of the "
        f"{len(whole)} flips without a split fell"
    )
    if not evidence.trace.in_order:
        not_covered.append("where documents begin, which this submission chose its order by")
    if evidence.unsplit:
        not_covered.append(f"swaps of single tokens, and the edges of windows: {evidence.unsplit}")
    if skipped:
        not_covered.append(f"{skipped} planned probes: the budget was spent, or their token was never read")
    if broken:
        error = next(result.error for result in evidence.probes if result.error)
        status, headline = Status.INCONCLUSIVE, f"{broken} probes made the submission fail: {error}"
    elif unconfirmed:
        status, headline = (
            Status.INCONCLUSIVE,
            f"{unconfirmed} rows moved under a flip, and not again when it was repeated",
        )
    elif len(made) == len(toothless):
        status, headline = Status.INCONCLUSIVE, "no probe had teeth: not one row after a flip moved"
    elif evidence.tolerance > _TOO_NOISY:
        status = Status.INCONCLUSIVE
        headline = f"identical runs differ by {evidence.tolerance / 4:.2g} nats, too much to see a leak in"
    else:
        status = Status.PASS
        headline = (
            f"no row up to a flip moved in {len(made)} probes "
            f"({power['rows compared']:,} rows compared, {len(made) - len(toothless)} probes with positive control)"
        )
    return finding(
        evidence,
        CHECK,
        RULE,
        status,
        headline,
        metrics=metrics,
        power=power,
        not_covered=not_covered,
        figures={"flips": _figure(evidence, made), **_power_figure(sampled)},
    )


def _leak(evidence: Evidence, made: list[ProbeResult], leaking: list[ProbeResult], power: dict[str, Any]) -> Finding:
    worst = max(leaking, key=_size)
    position = worst.probe.position
    earliest = min(min(p for p, *_ in result.violations) for result in leaking)
    reach = max(result.probe.position - min(p for p, *_ in result.violations) for result in leaking)
    compared = sum(result.compared for result in leaking)
    violated = sum(result.violated for result in leaking)
    metrics: dict[str, Metric] = {
        "probes that leak": len(leaking),
        "rows that moved and must not": violated,
        "of rows compared in these probes": compared,
        "largest change of NLL, nats": _size(worst),
        "earliest affected position": earliest,
        "reach of the leak, tokens": reach,
    }
    cost = price.price(evidence.probes) if Rows.REALISED not in evidence.trace.kinds else None
    if cost:
        metrics["price, nats per token"] = cost.mean
        metrics["price, 95 % interval, low"] = cost.low
        metrics["price, 95 % interval, high"] = cost.high
        metrics["positions priced"] = cost.positions
        metrics["of them with a leak"] = cost.leaking
    what = "the tokens from" if worst.probe.kind == "suffix" else "token"
    headline = (
        f"replacing {what} {position:,} moved {worst.violated:,} rows that come before it or are its own, "
        f"by up to {_size(worst):.3g} nats; {len(leaking)} of {len(made)} probes leak"
    )
    if evidence.tolerance and not any(result.probe.split for result in leaking):
        headline += (
            ", all in evaluations that are never split; once its process is split the submission behaves otherwise"
        )
    return finding(
        evidence,
        CHECK,
        RULE,
        Status.FAIL,
        headline,
        metrics=metrics,
        witness=_witness(evidence, worst),
        power=power,
        not_covered=_of_the_price(evidence, cost),
        figures={"flips": _figure(evidence, made)},
    )


def _of_the_price(evidence: Evidence, cost: price.Price | None) -> list[str]:
    """What the price does not say."""
    said = ["the price counts what it costs to adapt to other text; a submission without the leak may do better"]
    if Rows.REALISED in evidence.trace.kinds:
        return said
    if cost is None:
        asked = len(price.sampled(evidence.probes))
        return [f"the price of the leak: none of {asked} sampled positions has it" if asked else "its price"]
    if cost.leaking < price.ENOUGH:
        said.append(
            f"the price rests on {cost.leaking} of {cost.positions} sampled positions; a leak this rare is priced only "
            f"when the sample meets it, which makes the mean too high, on average by a "
            f"factor of about {cost.selection:.1f}; the interval allows for it"
        )
    return said


def _size(result: ProbeResult) -> float:
    return max((abs(after - before) for _, before, after, _ in result.violations), default=0.0)


def _witness(evidence: Evidence, result: ProbeResult) -> Witness:
    probe, tokens = result.probe, evidence.dataset.validation
    t = probe.position
    affected = sorted(result.violations, key=lambda row: (-abs(row[2] - row[1]), row[0]))[:_AFFECTED]
    position, before, after, _ = affected[0]
    decode = evidence.dataset.tokenizer.decode
    new = probe.token if probe.kind == "swap" else int(tokens[(t + probe.shift) % evidence.trace.tokens])
    data = {
        "probe": probe.kind,
        "position": t,
        "token": int(tokens[t]),
        "new_token": new,
        "shift": probe.shift,
        "token_class": probe.token_class,
        "old_text": decode(tokens[t : t + 1]),
        "new_text": decode([new]),
        "context_before": decode(tokens[max(0, t - _CONTEXT) : t]),
        "context_after": decode(tokens[t + 1 : t + 1 + _CONTEXT]),
        "tolerance": result.tolerance or evidence.flip_tolerance,
        "affected": [{"position": p, "before": b, "after": a} for p, b, a, _ in affected],
    }
    if not probe.split:
        data["split"] = False
    summary = (
        f"with other tokens from position {t} on, " if probe.kind == "suffix" else f"with another token at {t}, "
    ) + f"the row for position {position} charges {after:.6f} nats for its token instead of {before:.6f}"
    return Witness(kind=probe.kind, summary=summary, data=data)


def _power_figure(sampled: int) -> dict[str, Any]:
    """How likely a leak at a share s of the positions was to meet a probe: 1 - (1 - s)^n for n random ones.

    Probes at the edges of windows, batches and documents come on top.
    """
    if not sampled:
        return {}
    shares = [10 ** (-4 + step / 10) for step in range(41)]
    return {
        "power": {
            "type": "line",
            "title": f"Chance that one of {sampled} random probes met a leak; probes at edges come on top",
            "x_label": "share of positions that leak",
            "y_label": "chance of being seen",
            "x_scale": "log",
            "series": [
                {
                    "label": "random probes",
                    "x": [float(f"{share:.4g}") for share in shares],
                    "y": [round(1 - (1 - min(share, 1.0)) ** sampled, 4) for share in shares],
                }
            ],
        }
    }


def _figure(evidence: Evidence, made: list[ProbeResult]) -> dict[str, Any]:
    probes = []
    for result in made:
        status = "leak" if result.violated else "clean" if result.control else "no-control"
        changed = {p: abs(after - before) for p, before, after, _ in result.violations}
        changed.update({p: size for p, size in result.effects if p not in changed})
        nearest = sorted(changed, key=lambda p: (p > result.probe.position, abs(p - result.probe.position)))[:60]
        probes.append(
            {
                "position": result.probe.position,
                "kind": result.probe.kind,
                "status": status,
                "changed": [[p, float(f"{changed[p]:.4g}")] for p in sorted(nearest)],
            }
        )
    return {
        "type": "flips",
        "title": "Which rows moved when a later token was replaced",
        "tokens": evidence.trace.tokens,
        "probes": probes,
    }

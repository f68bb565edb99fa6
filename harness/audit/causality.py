"""causality: give the submission's own evaluation other text from some place on; predictions before it must not change.

A test at t replaces x_t and what follows ("suffix"), or x_t alone ("swap"). Rows up to and including t must not change.
A row after t has to, or the test shows nothing. Tests are made in two ways. Whole evaluations are played on text in
which hundreds of single tokens are replaced: the row of each replaced token has to be what it was. And an evaluation is
split at edges of batches and windows, where each copy goes on with other text.

All positions and tokens follow from a nonce that is drawn after the artifact is sealed. A row that was due and did not
come counts as one that changed. Where the order of scoring is not the stream's, a row may know the tokens before it in
the stream, or those scored before it, but not some of each: two rows that know each other's token are no code for both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.audit import orders
from harness.audit.check import finding, not_run
from harness.audit.evidence import Evidence
from harness.record import Finding, Status, Value, Witness
from harness.referee import price
from harness.referee.comparator import ProbeResult
from harness.sandbox.protocol import Rows

CHECK = "causality"
_CONTEXT = 12  # tokens of text shown on either side of a flip
_AFFECTED = 20  # rows listed in a witness
_SHOWN = 60  # swaps in whole evaluations that the figure shows
#: Nats; where identical runs differ by more, it proves nothing that no prediction changed.
TOO_NOISY = 2.5e-3
#: Stands for a change without end: records hold no infinity.
INFINITE = 1e300

#: What is said where the tests could not have seen anything.
NO_CONTROL = "no later prediction changed either when the text did, so the tests say nothing"

NOT_COVERED = [
    "leaks that act only at positions where no token was replaced",
    "what the artifact itself knows of the validation text (data-split, artifact-independence)",
    "rows that are causal but not a distribution (normalization)",
]


def check(evidence: Evidence) -> Finding:
    """FAIL with a witness when a row moved that must not; INCONCLUSIVE without as many probes as were planned."""
    # A row that moved stays moved when the submission breaks afterwards.
    made = [result for result in evidence.probes if result.ran and (result.violated or result.error is None)]
    if not evidence.probes:
        return not_run(evidence, CHECK, "no test with other text was made")
    leaking = [result for result in made if result.violated]
    cyclic = [] if evidence.trace.in_order else _cyclic(evidence, made)
    toothless = [result for result in made if not result.control]
    own = sorted({position for result in made for position in result.still})
    compared = sum(result.compared for result in made)
    power: dict[str, Value] = {
        "probes_planned": len(evidence.probes),
        "probes_made": len(made),
        "probes_with_control": len(made) - len(toothless),
        "rows_compared": compared,
        "rows_held": sum(result.by_construction for result in made),
        "noise_floor": evidence.flip_tolerance,
        "own_rows_compared": len(own),
    }
    if own:
        power["unseen_share"] = unseen(len(own))
    whole = [result for result in made if not result.probe.split]
    if whole:
        power["probes_in_whole_runs"] = len(whole)
    if leaking:
        return _leak(evidence, made, leaking, power)
    if cyclic:
        return _cycle(evidence, made, cyclic, power)
    broken = sum(result.error is not None for result in evidence.probes)
    unconfirmed = sum(result.unconfirmed for result in made)
    metrics: dict[str, Value] = {
        "rows_moved_before": unconfirmed,
        "probes_that_broke": broken,
    }
    skipped = len(evidence.probes) - len(made) - broken
    not_covered = list(NOT_COVERED)
    if not evidence.forgets:
        not_covered.append(
            "positions in whole evaluations: this submission keeps what it learns from a replaced token, so each of "
            "them tells of one position; the others are in processes that were split off"
        )
    if not evidence.trace.in_order:
        not_covered.append("where documents begin, which this submission chose its order by")
    if evidence.unsplit:
        not_covered.append(f"edges of batches and windows, in particular: {evidence.unsplit}")
    if skipped:
        not_covered.append(
            f"{skipped} planned tests: the rows set aside for them were spent, another one was made there, or their"
            " token was never read"
        )
    if broken:
        error = next(result.error for result in evidence.probes if result.error)
        status, headline = Status.INCONCLUSIVE, f"in {broken} tests with other text the submission failed: {error}"
    elif unconfirmed:
        status, headline = (
            Status.INCONCLUSIVE,
            f"{unconfirmed} predictions changed with other text, and not again when that was repeated",
        )
    elif len(made) == len(toothless):
        status, headline = Status.INCONCLUSIVE, NO_CONTROL
    elif evidence.tolerance > 4 * TOO_NOISY:
        status, headline = Status.INCONCLUSIVE, noisy(evidence.tolerance / 4)
    elif Rows.REALISED not in evidence.trace.kinds and len(own) < evidence.planned:
        status = Status.INCONCLUSIVE
        headline = (
            f"the own rows of {len(own)} replaced tokens could be compared, and {evidence.planned} is the least that "
            "says anything of leaks at some positions only"
        )
    else:
        status = Status.PASS
        among = f", those of {len(own)} replaced tokens among them" if own else ""
        headline = clean(len(made), compared, len(made) - len(toothless), among=among)
    return finding(
        evidence,
        CHECK,
        status,
        headline,
        metrics=metrics,
        power=power,
        not_covered=not_covered,
        figures={"flips": _figure(evidence, made), **_power_figure(len(own))},
    )


def clean(tests: int, compared: int, working: int, of: str = "", among: str = "") -> str:
    """What is said where no earlier prediction changed, and in `working` of the tests later ones did."""
    return (
        f"in {tests} tests with other text no earlier prediction{of} changed ({compared:,} compared{among}); in "
        f"{working} of them later ones did, so the test works"
    )


def leak(position: int, suffix: bool, changed: str, size: float, seen: str) -> str:
    """What is said of a leak: what was replaced, what changed, by up to how many nats, and in how many tests."""
    most = f"{size:.3g} nats" if size < INFINITE else "infinitely many nats (a token became possible, or impossible)"
    return (
        f"this submission uses tokens before it predicts them: with {_other(position, suffix)}, {changed} changed, by "
        f"up to {most}, {seen}"
    )


def noisy(size: float) -> str:
    """What is said where identical runs differ by so many nats that nothing else shows."""
    return f"identical runs differ by {size:.2g} nats, too much to see a leak in"


def _other(position: int, suffix: bool) -> str:
    return f"other text from position {position:,} on" if suffix else f"another token at position {position:,}"


def unseen(count: int) -> float:
    """The share of positions s at which a leak meets none of `count` random ones with probability one half."""
    return float(f"{1 - 0.5 ** (1 / count):.3g}")


def _cyclic(evidence: Evidence, made: list[ProbeResult]) -> list[tuple[ProbeResult, int, str]]:
    """Flips that moved rows on both sides of the order, or of the same document.

    Returns:
        (result, position of the row, why it must not move), empty where one consistent order explains all of them.
    """
    tokens = np.asarray(evidence.dataset.validation[: evidence.trace.tokens])
    document = np.cumsum(tokens == evidence.dataset.tokenizer.bos_id)
    if inside := orders.known_ahead(made, document):
        why = "a row knows a token that comes after it in its own document"
        return [(result, position, why) for result, position in inside]
    ahead = [(result, position) for result in made for position, _ in result.crossed]
    if ahead and any(result.backwards for result in made):
        why = "rows know tokens that come after them in the stream, and others know tokens that were scored after them"
        return [(result, position, why) for result, position in ahead]
    return []


def _cycle(
    evidence: Evidence, made: list[ProbeResult], cyclic: list[tuple[ProbeResult, int, str]], power: dict[str, Value]
) -> Finding:
    result, position, why = max(cyclic, key=lambda one: dict(one[0].crossed)[one[1]])
    change = dict(result.crossed)[position]
    data = _data(evidence, result)
    data["crossed"] = [position, change]
    return finding(
        evidence,
        CHECK,
        Status.FAIL,
        f"with another token at {result.probe.position:,} the prediction for position {position:,}, which comes before"
        f" it, changed by {change:.3g} nats: {why}",
        metrics={"probes_that_leak": len({id(one) for one, *_ in cyclic})},
        witness=Witness(
            kind=result.probe.kind,
            summary=f"with another token at {result.probe.position}, the prediction for position {position} changed",
            data=data,
        ),
        power=power,
        not_covered=["what the score would be in stream order"],
        figures={"flips": _figure(evidence, made)},
    )


def _leak(evidence: Evidence, made: list[ProbeResult], leaking: list[ProbeResult], power: dict[str, Any]) -> Finding:
    worst = max(leaking, key=_size)
    position = worst.probe.position
    touched = {id(result): [p for p, *_ in result.violations] + result.withheld for result in leaking}
    earliest = min(min(touched[id(result)]) for result in leaking)
    reach = max(result.probe.position - min(touched[id(result)]) for result in leaking)
    withheld = sum(len(result.withheld) for result in leaking)
    compared = sum(result.compared for result in leaking)
    violated = sum(result.violated for result in leaking)
    metrics: dict[str, Value] = {
        "probes_that_leak": len(leaking),
        "rows_moved": violated,
        "rows_compared_there": compared,
        "largest_change": _size(worst),
        "earliest": earliest,
        "reach": reach,
    }
    if withheld:
        metrics["rows_withheld"] = withheld
    cost = price.price(evidence.probes) if Rows.REALISED not in evidence.trace.kinds else None
    if cost:
        metrics["price"] = cost.mean
        metrics["price_low"] = cost.low
        metrics["price_high"] = cost.high
        metrics["positions_priced"] = cost.positions
        metrics["positions_leaking"] = cost.leaking
    seen, suffix = f"in {len(leaking)} of {len(made)} tests", worst.probe.kind == "suffix"
    headline = (
        leak(position, suffix, f"{worst.violated:,} predictions that must not know it", _size(worst), seen)
        if worst.violations
        else f"this submission answers otherwise where the text is not the true one: with {_other(position, suffix)}, "
        f"{worst.violated:,} predictions that were due before it did not come, {seen}"
    )
    split = {id(result) for result in made if result.probe.split}
    if evidence.tolerance and split and not any(id(result) in split for result in leaking):
        headline += (
            ", all in evaluations that are never split; once its process is split the submission behaves otherwise"
        )
    return finding(
        evidence,
        CHECK,
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
            "when the sample meets it, which makes the mean too high, on average by a factor of about "
            f"{cost.selection:.1f}; the interval allows for it"
        )
    return said


def _size(result: ProbeResult) -> float:
    return max((abs(after - before) for _, before, after, _ in result.violations), default=0.0)


def _witness(evidence: Evidence, result: ProbeResult) -> Witness:
    probe = result.probe
    t = probe.position
    affected = sorted(result.violations, key=lambda row: (-abs(row[2] - row[1]), row[0]))[:_AFFECTED]
    data = _data(evidence, result)
    data["affected"] = [{"position": p, "before": b, "after": a} for p, b, a, _ in affected]
    summary = f"with other tokens from position {t} on, " if probe.kind == "suffix" else f"with another token at {t}, "
    if affected:
        position, before, after, _ = affected[0]
        summary += f"the row for position {position} charges {after:.6f} nats for its token instead of {before:.6f}"
    else:
        summary += f"no row comes for position {result.withheld[0]}"
    if result.withheld:
        data["withheld"] = result.withheld[:_AFFECTED]
    return Witness(kind=probe.kind, summary=summary, data=data)


def _data(evidence: Evidence, result: ProbeResult) -> dict[str, Any]:
    """What a replay of a flip needs, and the text around it."""
    probe, tokens = result.probe, evidence.dataset.validation
    t = probe.position
    decode = evidence.dataset.tokenizer.decode
    new = probe.token if probe.kind == "swap" else int(tokens[(t + probe.shift) % evidence.trace.tokens])
    data: dict[str, Any] = {
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
    }
    if probe.others:
        data["others"] = [list(other) for other in probe.others]
    if not probe.split:
        data["split"] = False
    return data


def _power_figure(sampled: int) -> dict[str, Any]:
    """How likely a leak at a share s of the positions was to be met: 1 - (1 - s)^n for n random ones.

    Probes at the edges of windows, batches and documents come on top.
    """
    if not sampled:
        return {}
    shares = [10 ** (-4 + step / 10) for step in range(41)]
    return {
        "power": {
            "type": "line",
            "title": f"Chance that one of {sampled} random positions met a leak; tests at edges come on top",
            "x_label": "share of positions that leak",
            "y_label": "chance of being seen",
            "x_scale": "log",
            "series": [
                {
                    "label": "random tests",
                    "x": [float(f"{share:.4g}") for share in shares],
                    "y": [round(1 - (1 - min(share, 1.0)) ** sampled, 4) for share in shares],
                }
            ],
        }
    }


def _figure(evidence: Evidence, made: list[ProbeResult]) -> dict[str, Any]:
    probes = []
    loud = [result for result in made if result.violated or result.probe.split]
    quiet = [result for result in made if result not in loud]
    step = max(1, len(quiet) // _SHOWN)  # hundreds of swaps are a grey stripe: some of them, evenly spread
    for result in sorted([*loud, *quiet[::step]], key=lambda result: result.probe.position):
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
        "title": "Which predictions changed when a later token was replaced",
        "tokens": evidence.trace.tokens,
        "probes": probes,
    }

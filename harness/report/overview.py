"""Figures and tables of a whole record, beside those of its findings: price, seeds, loss, artifact, clocks, power."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.record import Finding, Record
from harness.report import view
from harness.text import clean, finite, label, number

#: Numbers of a finding's power that its line of the overview shows.
_TOLD = 3


def figures(record: Record) -> list[tuple[str, dict[str, Any]]]:
    """The figures of a record as (caption, data), in reading order; those without data are left out."""
    made = [
        ("Seeds", seeds(record)),
        ("Loss along the scored stream", losses(record)),
        ("Artifact by tensor group, before compression, as its own header states it", payload(record)),
        ("Artifact and code", sizes(record)),
        ("Clocks", clocks(record)),
    ]
    return [(_caption(name, record), figure) for name, figure in made if figure]


def priced(record: Record) -> list[tuple[str, dict[str, Any]]]:
    """The figures of what a leak was worth as (caption, data); they belong to the finding that found it."""
    made = [
        ("Bits per byte, with the leak and without", price(record)),
        ("The price at each sampled position", gaps(record)),
    ]
    return [(name, figure) for name, figure in made if figure]


def price(record: Record) -> dict[str, Any] | None:
    """Measured, honest and claimed BPB, the honest one with its interval; None where no leak was priced."""
    honest, score = view.honest_bpb(record), record.score
    if honest is None or score is None:
        return None
    bars = [{"label": "measured", "value": score.val_bpb, "status": "FAIL"}]
    one: dict[str, Any] = {"label": "honest estimate, 95 % interval", "value": honest, "status": "PASS"}
    if interval := view.honest_interval(record):
        one |= {"low": interval[0], "high": interval[1]}
    bars.append(one)
    if (claim := view.claimed_bpb(record)) is not None and record.scale == "record":
        bars.append({"label": "claimed", "value": claim, "status": "claim"})
    return {"type": "dots", "title": "Measured and honest bits per byte", "unit": "BPB", "bars": bars}


def gaps(record: Record) -> dict[str, Any] | None:
    """Honest minus scored NLL at each position that was sampled for the price."""
    sampled = (record.score.honest_bpb if record.score else None) or {}
    pairs = [pair for pair in sampled.get("gaps") or [] if isinstance(pair, list) and len(pair) == 2]
    if not pairs:
        return None
    x = [finite(position) for position, _ in pairs]
    return {
        "type": "line",
        "title": "What hiding the future costs at each sampled position",
        "x_label": "stream position",
        "y_label": "nats",
        "needles": True,
        "series": [{"label": "honest minus scored", "x": x, "y": [gap for _, gap in pairs]}],
    }


def seeds(record: Record) -> dict[str, Any] | None:
    """The score of each seed, where there is more than one."""
    made = record.score.per_seed if record.score else []
    if len(made) < 2:
        return None
    bars = [{"label": f"seed {one.seed}", "value": one.val_bpb} for one in made]
    return {"type": "dots", "title": "Score of each seed", "unit": "BPB", "bars": bars}


def losses(record: Record) -> dict[str, Any] | None:
    """The loss along the stream, where the record holds it."""
    curve = record.score.nll if record.score else None
    if curve is None or not record.score or len(curve.x) < 2:
        return None
    mean = record.score.val_loss
    return {
        "type": "line",
        "title": "Mean loss of consecutive stretches of the stream",
        "x_label": "stream position",
        "y_label": "nats per token",
        "series": [
            {"label": "as scored", "x": curve.x, "y": curve.y},
            {"label": "mean", "x": [curve.x[0], curve.x[-1]], "y": [mean, mean]},
        ],
    }


def payload(record: Record) -> dict[str, Any] | None:
    """Tensor groups of the artifact by bytes."""
    told = record.artifact.payload.get("groups") if record.artifact else None
    groups = [group for group in told if isinstance(group, Mapping)] if isinstance(told, list) else []
    if not groups:
        return None
    shown = [
        {"label": f"{clean(group.get('name'), 40)}, {clean(group.get('bits'), 4)} bit", "value": group.get("bytes")}
        for group in groups
    ]
    return {"type": "parts", "title": "Bytes by tensor group", "unit": "bytes", "parts": shown}


def sizes(record: Record) -> dict[str, Any] | None:
    """Artifact and code under the convention that is ruled by, against the limit."""
    made = record.artifact
    if made is None:
        return None
    code = made.code.get(made.convention, 0)
    bars = [
        {"label": "artifact, compressed", "value": made.bytes, "limit": made.limit},
        {"label": f"artifact and code, {clean(made.convention, 30)}", "value": made.bytes + code, "limit": made.limit},
    ]
    return {"type": "bars", "title": "Bytes against the limit", "unit": "bytes", "bars": bars}


def clocks(record: Record) -> dict[str, Any] | None:
    """The parent's clocks against the limits of the ruleset."""
    bars = []
    for stage, check in (("train", "train-clock"), ("evaluation", "eval-clock")):
        clock = record.clocks.get(stage)
        limit = next((f.value("limit_seconds") for f in record.findings if f.id == check), None)
        comparable = any(f.id == check and f.value("loop") is not None for f in record.findings)
        for name, seconds in clock.items() if isinstance(clock, Mapping) else ():
            if name in ("loop", "touches training data", "from process start") and finite(seconds) is not None:
                bar: dict[str, Any] = {"label": f"{stage}: {label(name)}", "value": seconds, "limit": finite(limit)}
                # On other hardware the limit is there to compare with, and no bar is an alarm.
                bars.append(bar if comparable else {**bar, "status": "reference"})
    return {"type": "bars", "title": "Seconds against the limit", "unit": "s", "bars": bars} if bars else None


def power(record: Record) -> list[tuple[Finding, list[tuple[str, str]]]]:
    """What each check would have seen: the first numbers of its power, the smallest visible effects first."""
    rows = []
    for finding in view.worst_first(record):
        told = [one for one in finding.power if not isinstance(one.value, list)]
        told.sort(key=lambda one: not one.id.startswith("smallest"))
        if told:
            rows.append((finding, [(view.called(one), number(one.value)) for one in told[:_TOLD]]))
    return rows


def _caption(name: str, record: Record) -> str:
    if name == "Clocks":
        comparable = any(f.id.endswith("-clock") and f.value("loop") is not None for f in record.findings)
        return name + (
            " against their limits"
            if comparable
            else "; the limits are for the contest's hardware, not for this machine"
        )
    return name

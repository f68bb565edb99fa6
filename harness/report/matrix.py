"""Figures of a trace: which rows moved when a token was changed, and the order in which the stream was used."""

from __future__ import annotations

import math

from markupsafe import Markup

from harness.report.svg import (
    BOTTOM,
    LEFT,
    TOP,
    Axis,
    Figure,
    chart,
    el,
    legend,
    num,
    plot,
    short,
    text,
    x_axis,
    x_percent,
    y_axis,
)
from harness.text import clean, number, real

#: Resolution of the flip matrix: offsets are binned into columns, probes share rows when there are more of them.
_COLUMNS, _ROWS = 160, 80

#: Events of a timeline that are drawn; the pattern repeats long before.
_EVENTS = 400


def flips(figure: Figure, ident: str) -> Markup:
    """Flipped position against affected position, one row of the chart per probe.

    The affected position is shown as its offset from the flipped one on a symmetric log scale, so that a leak one
    token back and a legal effect a thousand tokens on are both visible. Offsets up to 0 must not change.

    Args:
        figure: {"title", "tokens": N, "probes": [{"position": t, "kind": "suffix" or "swap", "status": "clean", "leak"
            or "no-control", "changed": [[position, delta in nats], ...]}]}.
        ident: prefix for ids.

    Raises:
        KeyError, TypeError, ValueError: the data do not have this shape.
    """
    probes = sorted(figure["probes"], key=lambda probe: (int(probe["position"]), str(probe["kind"])))
    if not probes:
        raise ValueError("no tests")
    offsets = [int(position) - int(probe["position"]) for probe in probes for position, _ in probe["changed"]]
    back = max(_bend(10), -_bend(min(offsets, default=0)))
    ahead = max(_bend(10), _bend(max(offsets, default=0)))
    axis = Axis(-1.05 * back, 1.05 * ahead)
    per_row = -(-len(probes) // _ROWS)
    rows = -(-len(probes) // per_row)
    step = max(6, min(22, 300 // rows))
    height = rows * step

    leaking: set[tuple[int, int]] = set()
    legal: set[tuple[int, int]] = set()
    earliest = 0
    for index, probe in enumerate(probes):
        for position, _ in probe["changed"]:
            offset = int(position) - int(probe["position"])
            column = min(int(axis.share(_bend(offset)) * _COLUMNS), _COLUMNS - 1)
            leak = offset <= 0 and probe["status"] == "leak"
            (leaking if leak else legal).add((index // per_row, column))
            earliest = min(earliest, offset if leak else 0)
    silent = [index // per_row for index, probe in enumerate(probes) if probe["status"] == "no-control"]

    zero = axis.share(_bend(0.5))
    parts = [
        legend([("leak", "f-alarm"), ("legal effect", "f-muted")]),
        el("rect", x=x_percent(0), y=TOP, width=f"{num(86 * zero)}%", height=height, class_="f-forbidden"),
        text("must not change", x_percent(0), TOP - 10, class_="f-axis"),
        text("may change", x_percent(1), TOP - 10, "end", "f-axis"),
        plot(
            _COLUMNS,
            rows,
            height,
            el("path", d=_cells(legal - leaking), class_="f-muted"),
            el("path", d=_cells(leaking), class_="f-alarm"),
        ),
        el("line", x1=x_percent(zero), x2=x_percent(zero), y1=TOP - 4, y2=TOP + height + 4, class_="f-zero"),
        *(text("?", x_percent(zero / 2), TOP + step * (row + 0.7), "middle", "f-tick") for row in sorted(set(silent))),
        *_row_labels([int(probe["position"]) for probe in probes[::per_row]], step),
        x_axis(_offset_ticks(axis), height, "affected position, tokens from the changed one"),
    ]
    count = sum(probe["status"] == "leak" for probe in probes)
    said = f"{len(probes)} tests on {number(figure.get('tokens'))} tokens, {count} of them leak."
    said += f" Earliest affected row: {earliest} tokens from the changed one." if count else ""
    said += f" {len(silent)} tests changed no prediction at all and decide nothing (marked ?)." if silent else ""
    return chart(ident, clean(figure.get("title") or "Flips", 160), said, TOP + height + BOTTOM, *parts)


def timeline(figure: Figure, ident: str) -> Markup:
    """What a scorer did, in its own order: stream positions that it read, committed and trained on.

    Args:
        figure: {"title", "events": [{"kind": "read", "commit" or "update", "start": a, "end": b, "order": k}]}; the
            positions are a up to, not including, b.
        ident: prefix for ids.

    Raises:
        KeyError, TypeError, ValueError: the data do not have this shape.
    """
    styles = {"read": "f-read", "commit": "f-commit", "update": "f-update"}
    events = sorted(figure["events"], key=lambda event: real(event["order"]))
    shown = events[:_EVENTS]
    if not shown:
        raise ValueError("no events")
    height = 260
    along = Axis(real(shown[0]["order"]), real(shown[-1]["order"]) + 1)
    up = Axis.over([real(event[end]) for event in shown for end in ("start", "end")])
    marks = []
    for kind, style in styles.items():
        for event in shown:
            if event["kind"] != kind:
                continue
            x = 1000 * along.share(real(event["order"]))
            low, high = sorted(1000 * (1 - up.share(real(event[end]))) for end in ("end", "start"))
            width = 1000 / (along.high - along.low)
            share = {"read": 0.9, "commit": 0.7, "update": 0.5}[kind]
            marks.append(
                el("rect", x=x, y=low, width=max(width * share, 2.0), height=max(high - low, 12.0), class_=style)
            )
    if not marks:
        raise ValueError("no event of a known kind")
    names = [(kind, style) for kind, style in styles.items() if any(event["kind"] == kind for event in shown)]
    said = ", ".join(f"{sum(event['kind'] == kind for event in events)} of kind {kind}" for kind, _ in names)
    rest = f" (the first {len(shown)} of {len(events):,})" if len(shown) < len(events) else ""
    return chart(
        ident,
        clean(figure.get("title") or "Timeline", 160),
        f"Events in the scorer's own order: {said}{rest}.",
        TOP + height + BOTTOM,
        legend(names),
        y_axis(up, height, "stream position"),
        x_axis([(0.0, short(along.low)), (1.0, short(along.high - 1))], height, "order of events" + rest),
        plot(1000, 1000, height, *marks),
    )


def _bend(offset: float) -> float:
    """Symmetric logarithm: 0 stays, 1 -> 0.30, 10 -> 1.04, 1000 -> 3."""
    return math.copysign(math.log10(1 + abs(offset)), offset)


def _cells(cells: set[tuple[int, int]]) -> str:
    """The cells (row, column) as one path of rectangles; neighbours in a row become one."""
    runs: list[tuple[int, int, int]] = []
    for row, column in sorted(cells):
        if runs and runs[-1][0] == row and runs[-1][2] == column:
            runs[-1] = (row, runs[-1][1], column + 1)
        else:
            runs.append((row, column, column + 1))
    return "".join(f"M{start} {num(row + 0.12)}H{end}V{num(row + 0.88)}H{start}z" for row, start, end in runs)


def _offset_ticks(axis: Axis) -> list[tuple[float, str]]:
    values = [sign * 10**power for sign in (-1, 1) for power in range(0, 8)]
    marks = [(axis.share(_bend(value)), f"{'+' if value > 0 else '−'}{short(abs(value))}") for value in values]
    kept = [(axis.share(0.0), "t")]
    for share, name in marks:
        if 0 <= share <= 1 and all(abs(share - other) >= 0.1 for other, _ in kept):
            kept.append((share, name))
    return sorted(kept)


def _row_labels(positions: list[int], step: int) -> list[Markup]:
    """The flipped positions at the left, as many as fit."""
    every = max(1, -(-14 // step))
    return [
        text(f"{position:,}", f"{num(LEFT - 1)}%", TOP + step * (row + 0.5) + 4, "end", "f-tick")
        for row, position in enumerate(positions)
        if row % every == 0
    ]

"""Figures of amounts: points with their intervals on a zoomed axis, and the parts of a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from harness.report.svg import Axis, chart, el, num, short, text, ticks
from harness.text import bpb, brief, clean, finite, number, real

Figure = Mapping[str, Any]

_POINTS, _PARTS = 40, 12

#: Height of a point's row and of a part's line, in pixels.
_ROW, _LINE = 42, 22

#: Room at both ends of the axis, as a share of the width, so that no mark is cut off.
_MARGIN = 0.03


def dots(figure: Figure, ident: str) -> Markup:
    """Values as points on one axis that need not begin at zero, each with its interval and its limit where it has one.

    For numbers that are close to each other, where bars would all look the same.

    Args:
        figure: {"title", "unit", "bars": [{"label", "value", "low", "high", "limit", "status", "text"}]}; all but label
            and value may be missing. Status FAIL gives the alarm colour, "reference" and its like are muted.
        ident: prefix for ids.

    Raises:
        KeyError, TypeError, ValueError: the data do not have this shape.
    """
    unit = clean(figure.get("unit") or "", 20)
    shown = list(figure["bars"])[:_POINTS]
    if not shown:
        raise ValueError("no points")
    shape = bpb if unit == "BPB" else number
    reach = []
    for one in shown:
        value = real(one["value"])
        low, high, limit = (finite(one.get(name)) for name in ("low", "high", "limit"))
        reach.append((value, value if low is None else low, value if high is None else high, limit))
    axis = Axis.over([x for row in reach for x in row if x is not None], pad=0.05)
    height = len(shown) * _ROW
    inside = [at for at in ticks(axis.low, axis.high, 4) if axis.low <= at <= axis.high]
    marks = [el("line", x1=_x(axis, at), x2=_x(axis, at), y1=height, y2=height + 4, class_="f-zero") for at in inside]
    said = []
    for index, (one, (value, low, high, limit)) in enumerate(zip(shown, reach, strict=True)):
        y, status = index * _ROW + 16, one.get("status")
        style = "f-alarm" if status == "FAIL" else "f-bar" if status in (None, "PASS", "measured") else "f-rest"
        amount = brief(one.get("text") or f"{shape(value)} {unit}".rstrip(), 30)
        if high > low:
            amount += f" ({shape(low)} to {shape(high)})"
        name = brief(one["label"], 48)
        said.append(f"{name}: {amount}" + (f", limit {shape(limit)}" if limit is not None else ""))
        marks.append(text(name, "0", y, class_="f-label"))
        marks.append(text(amount, "100%", y, "end", "f-value"))
        marks.append(el("line", x1="0", x2="100%", y1=y + 14, y2=y + 14, class_="f-grid"))
        if high > low:
            span = _wide(axis, low, high)
            marks.append(el("rect", x=_x(axis, low), y=y + 11, width=span, height=6, rx=3, class_=f"{style} f-span"))
        marks.append(el("circle", cx=_x(axis, value), cy=y + 14, r=5, class_=style))
        if limit is not None:
            marks.append(el("line", x1=_x(axis, limit), x2=_x(axis, limit), y1=y + 5, y2=y + 23, class_="f-limit"))
    marks += [text(short_tick(at), _x(axis, at), height + 18, "middle", "f-tick") for at in inside]
    return chart(ident, _title(figure), "; ".join(said), height + 24, *marks)


def parts(figure: Figure, ident: str) -> Markup:
    """A whole as one strip of its parts, and a line of text for each.

    Args:
        figure: {"title", "unit", "limit": number or None, "parts": [{"label", "value"}]}; values are at least 0. With a
            limit, each part's share of it is told.
        ident: prefix for ids.

    Raises:
        KeyError, TypeError, ValueError: the data do not have this shape.
    """
    unit = clean(figure.get("unit") or "", 20)
    shown = [(brief(one["label"], 60), real(one["value"])) for one in list(figure["parts"])[:_PARTS]]
    total, limit = sum(value for _, value in shown), finite(figure.get("limit"))
    if not shown or total <= 0 or min(value for _, value in shown) < 0:
        raise ValueError("no parts of anything")
    marks, said, at = [], [], 0.0
    for index, (name, value) in enumerate(shown):
        style, width, y = f"f-part f-part-{index % 6 + 1}", 100 * value / total, 24 + (index + 1) * _LINE - 6
        shape = number(int(value) if value == int(value) else value)
        amount = f"{shape} {unit}".rstrip() + f", {_percent(value, total)}"
        if limit is not None and limit > 0:
            amount += f"; {_percent(value, limit)} of the limit"
        said.append(f"{name}: {amount}")
        marks.append(el("rect", x=f"{num(at)}%", y=0, width=f"{num(width)}%", height=16, class_=style))
        marks.append(el("rect", x="0", y=y - 10, width=11, height=11, rx=2, class_=style))
        marks.append(el("text", name, x=18, y=y, class_="f-label"))
        marks.append(text(amount, "100%", y, "end", "f-value", limit=80))
        at += width
    return chart(ident, _title(figure), "; ".join(said), 24 + len(shown) * _LINE, *marks)


def short_tick(value: float) -> str:
    """A tick label of an axis that may be zoomed to the fourth digit."""
    return short(value) if abs(value) >= 1e3 else f"{value:.6g}"


def _title(figure: Figure) -> str:
    return clean(figure.get("title") or "Figure", 160)


def _x(axis: Axis, value: float) -> str:
    return f"{num(100 * (_MARGIN + (1 - 2 * _MARGIN) * axis.share(value)))}%"


def _wide(axis: Axis, low: float, high: float) -> str:
    return f"{num(100 * (1 - 2 * _MARGIN) * (axis.share(high) - axis.share(low)))}%"


def _percent(value: float, whole: float) -> str:
    share = 100 * value / whole
    return f"{share:.1f} %" if share >= 0.1 or share == 0 else "below 0.1 %"

"""Figures of a finding: plain data in, one inline <svg> out. What cannot be drawn is shown as a table of its data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from harness.report.dots import dots, parts
from harness.report.facts import Fact, fact
from harness.report.matrix import flips, timeline
from harness.report.svg import BOTTOM, TOP, Axis, chart, el, legend, num, plot, short, text, ticks, x_axis, y_axis
from harness.text import bpb, brief, clean, finite, number, real

Figure = Mapping[str, Any]

#: More than this is not readable; the rest is counted in the description.
_BARS, _SERIES, _POINTS = 40, 6, 400

#: Bar statuses that are there to compare with, not to look at first.
_QUIET = ("reference", "claim", "honest", "NOT_APPLICABLE")

#: Height of a bar with its text, and of the bar alone, in pixels.
_ROW, _BAR = 42, 10


def draw(figure: object, ident: str) -> Markup:
    """One figure as markup that stands on its own.

    Args:
        figure: a mapping with a "type", one of those in `_PAINTERS`, and the fields of that type.
        ident: prefix for the ids inside, unique on the page.

    Returns:
        An <svg> with title and description; a <table> of the data when the type is unknown or the data do not fit it.
    """
    if isinstance(figure, Mapping):
        painter = _PAINTERS.get(str(figure.get("type")))
        if painter:
            try:
                return painter(figure, ident)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError):
                pass  # the data do not have the type's shape; they are still worth reading
    return table(figure)


def table(figure: object) -> Markup:
    """The data of a figure as a plain table of names and values."""
    named = figure if isinstance(figure, Mapping) else {"value": figure}
    laid = fact({name: value for name, value in named.items() if name not in ("type", "title")})
    rows = [el("tr", el("th", name, scope="row"), el("td", _flat(value))) for name, value in laid.pairs]
    if laid.left_out:
        rows.append(el("tr", el("th", "…", scope="row"), el("td", f"{laid.left_out:,} more")))
    caption = f"No drawing for type {clean(named.get('type'), 40)}; its data:"
    return el("table", el("caption", caption), el("tbody", *rows), class_="plain")


def bars(figure: Figure, ident: str) -> Markup:
    """Horizontal bars from zero, each with its value and, where there is one, a mark at its limit.

    Args:
        figure: {"title", "unit", "bars": [{"label", "value", "limit": number or None, "status": str or None}]}. Status
            FAIL, or no status and a value above its limit, gives the alarm colour; "reference" and its like are muted.
            A bar's "text", if it has one, is shown instead of its value and unit.
        ident: prefix for ids.

    Raises:
        KeyError, TypeError, ValueError: the data do not have this shape (as for the other painters).
    """
    unit = clean(figure.get("unit") or "", 20)
    shown = list(figure["bars"])[:_BARS]
    if not shown:
        raise ValueError("no bars")
    values = [real(one["value"]) for one in shown]
    limits = [finite(one.get("limit")) for one in shown]
    names = [brief(one["label"], 48) for one in shown]
    amounts = [_amount(one, limit, unit) for one, limit in zip(shown, limits, strict=True)]
    # A long name and its value do not fit one line of a phone.
    two_lines = any(len(name) + len(amount) > 44 for name, amount in zip(names, amounts, strict=True))
    row, bar = (_ROW + 18, 29) if two_lines else (_ROW, 7)
    top = max([0.0, *values, *(limit for limit in limits if limit is not None)])
    scale = 100 / top if top > 0 else 0.0
    marks: list[Markup] = []
    for index, (one, value, limit) in enumerate(zip(shown, values, limits, strict=True)):
        y, status = index * row + 16, one.get("status")
        beyond = status == "FAIL" or (status is None and limit is not None and value > limit)
        style = "f-alarm" if beyond else "f-rest" if status in _QUIET else "f-bar"
        marks.append(text(names[index], "0", y, class_="f-label"))
        marks.append(
            text(amounts[index], "0", y + 19, class_="f-value")
            if two_lines
            else text(amounts[index], "100%", y, "end", "f-value")
        )
        marks.append(el("rect", x=0, y=y + bar, width="100%", height=_BAR, rx=2, class_="f-track"))
        width = f"{num(max(value, 0.0) * scale)}%"
        marks.append(el("rect", x=0, y=y + bar, width=width, height=_BAR, rx=2, class_=style))
        if limit is not None:
            x = f"{num(max(limit, 0.0) * scale)}%"
            marks.append(el("line", x1=x, x2=x, y1=y + bar - 3, y2=y + bar + _BAR + 3, class_="f-limit"))
    said = "; ".join(f"{name}: {amount}" for name, amount in zip(names, amounts, strict=True))
    return chart(ident, _title(figure), said, len(shown) * row, *marks)


def _amount(bar: Mapping[str, Any], limit: float | None, unit: str) -> str:
    """A bar's value in words, with the limit that it is held against."""
    shape = bpb if unit == "BPB" else number
    value = bar["value"] if isinstance(bar["value"], int) else real(bar["value"])
    amount = brief(bar.get("text") or f"{shape(value)} {unit}".rstrip(), 24)
    return amount + (f" of {number(limit)}" if limit is not None else "")


def line(figure: Figure, ident: str) -> Markup:
    """Curves over a common x.

    Args:
        figure: {"title", "x_label", "y_label", "series": [{"label", "x": numbers, "y": numbers}]}. With "x_scale":
            "log" the x are above 0 and shown by their decimal logarithm. With "needles", each point stands alone, as
            a line from zero.
        ident: prefix for ids.
    """
    height = 220
    series = [(brief(one["label"], 22), _points(one["x"], one["y"])) for one in list(figure["series"])[:_SERIES]]
    series = [(name, points) for name, points in series if points]
    bent = figure.get("x_scale") == "log"
    if bent:
        series = [(name, [(math.log10(x), y) for x, y in points]) for name, points in series]
    across = Axis.over([x for _, points in series for x, _ in points])
    heights = [y for _, points in series for _, y in points]
    up = Axis.over([*heights, 0.0] if figure.get("needles") else heights, pad=0.04)
    paths = []
    for index, (_, points) in enumerate(series):
        places = [(num(1000 * across.share(x)), num(1000 * (1 - up.share(y)))) for x, y in points]
        if figure.get("needles"):
            zero = num(1000 * (1 - up.share(0.0)))
            steps = "".join(f"M{x} {zero}V{y}" for x, y in places)
            paths.append(el("path", d=steps, class_=f"f-line f-line-{index + 1}"))
        else:
            steps = " ".join(f"{x},{y}" for x, y in places)
            paths.append(el("polyline", points=steps, fill="none", class_=f"f-line f-line-{index + 1}"))
    round_numbers = ticks(across.low, across.high)
    if bent:
        round_numbers = [float(power) for power in range(math.ceil(across.low), math.floor(across.high) + 1)]
    marks = [(across.share(value), short(10**value if bent else value)) for value in round_numbers]
    said = "; ".join(f"{name}: from {number(points[0][1])} to {number(points[-1][1])}" for name, points in series)
    return chart(
        ident,
        _title(figure),
        said,
        TOP + height + BOTTOM,
        legend([(name, f"f-line-{index + 1}") for index, (name, _) in enumerate(series)]),
        y_axis(up, height, clean(figure.get("y_label") or "", 40)),
        x_axis(marks, height, clean(figure.get("x_label") or "", 40)),
        plot(1000, 1000, height, *paths),
    )


_PAINTERS: dict[str, Callable[[Figure, str], Markup]] = {
    "bars": bars,
    "dots": dots,
    "parts": parts,
    "line": line,
    "flips": flips,
    "timeline": timeline,
}


def _title(figure: Figure) -> str:
    return clean(figure.get("title") or "Figure", 160)


def _points(xs: Sequence[object], ys: Sequence[object]) -> list[tuple[float, float]]:
    """Pairs of numbers, thinned to at most about 400; the last one is kept."""
    pairs = [(x, y) for x, y in zip(map(finite, xs), map(finite, ys), strict=True) if x is not None and y is not None]
    every = -(-len(pairs) // _POINTS) or 1
    return [*pairs[::every], *(pairs[-1:] if (len(pairs) - 1) % every else [])]


def _flat(value: Fact) -> str:
    """A fact in one line, for a table cell."""
    if value.kind == "pairs":
        return "; ".join(f"{name}: {_flat(item)}" for name, item in value.pairs) + _more(value)
    if value.kind == "table":
        return "; ".join(" ".join(_flat(cell) for cell in row) for row in value.rows) + _more(value)
    return value.text


def _more(value: Fact) -> str:
    return f"; … and {value.left_out:,} more" if value.left_out else ""

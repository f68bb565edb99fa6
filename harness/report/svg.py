"""Small pieces of SVG: escaped elements, axes and a chart frame that stretches with the page while its text does not.

A chart has a fixed height in pixels and the width of its column. Positions along x are therefore percentages of that
width; marks that need a path live in a nested <svg> that is stretched to the plot area. Colours come from the page's
CSS classes (f-*), so that a chart follows the light and dark themes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from harness.text import brief

#: Plot area, as percentages of the chart's width.
LEFT, WIDTH = 12.0, 86.0

#: Room for the axis labels and the legend, in pixels.
TOP, BOTTOM = 46, 40


def el(name: str, *children: object, **attributes: object) -> Markup:
    """One element; children and attribute values are escaped unless they are Markup.

    A trailing underscore of an attribute's name is dropped and inner ones become hyphens (class_, text_anchor), except
    for the camel-case names that SVG has. Attributes whose value is None are left out.
    """
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    head = Markup("").join(
        Markup(' {}="{}"').format(Markup(key), num(value) if isinstance(value, float) else value)
        for key, value in pairs
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), head, Markup("").join(escape(child) for child in children))


def num(value: float) -> str:
    """A coordinate: at most two decimals, no trailing zeros, the same on every machine."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def x_percent(share: float) -> str:
    """Where a share of the plot's width lies in the chart, as an SVG percentage."""
    return f"{num(LEFT + WIDTH * share)}%"


def chart(ident: str, title: str, description: str, height: int, *children: Markup) -> Markup:
    """The outer <svg> with a name and a description for people who do not see it."""
    return el(
        "svg",
        el("title", title, id=f"{ident}-title"),
        el("desc", description, id=f"{ident}-desc"),
        *children,
        class_="chart",
        role="img",
        width="100%",
        height=height,
        fill="currentColor",
        aria_labelledby=f"{ident}-title {ident}-desc",
    )


def plot(columns: float, rows: float, height: int, *children: Markup) -> Markup:
    """The plot area as a nested <svg> of columns x rows units, stretched to its place."""
    return el(
        "svg",
        *children,
        x=f"{num(LEFT)}%",
        y=TOP,
        width=f"{num(WIDTH)}%",
        height=height,
        viewBox=f"0 0 {num(columns)} {num(rows)}",
        preserveAspectRatio="none",
        overflow="visible",
    )


def text(content: str, x: str, y: float, anchor: str = "start", class_: str = "f-label", limit: int = 60) -> Markup:
    """A line of text; `x` is a percentage, `y` the baseline in pixels."""
    return el("text", brief(content, limit), x=x, y=float(y), text_anchor=anchor, class_=class_)


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """Names of the series beside a swatch of their class, in one line above the plot."""
    spans = [
        Markup("").join((el("tspan", "■ ", class_=style), el("tspan", brief(name, 22) + "   ", class_="f-label")))
        for name, style in entries
    ]
    return el("text", *spans, x="0", y=14)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers that cover [low, high]."""
    if not high > low:
        return [low]
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((factor * power for factor in (1, 2, 2.5, 5) if factor * power >= raw), 10 * power)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, first + count + 3) if index * step <= high + 1e-9 * step]


def short(value: float) -> str:
    """A tick label: 12000 -> "12k", 0.25 -> "0.25"."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


@dataclass(frozen=True)
class Axis:
    """A linear scale from data in [low, high] to shares of an axis in [0, 1]."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float], *, pad: float = 0.0) -> Axis:
        """The axis that holds all the values (there must be one), with `pad` of their range on both sides."""
        low, high = min(values), max(values)
        if low == high:
            low, high = low - 0.5, high + 0.5
        room = pad * (high - low)
        return cls(low - room, high + room)

    def share(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high end."""
        return (value - self.low) / (self.high - self.low)


def y_axis(axis: Axis, height: int, name: str, form: Callable[[float], str] = short) -> Markup:
    """Grid lines, tick labels and the axis' name, for a plot that is `height` pixels high."""
    parts = [text(name, "0", TOP - 10, class_="f-axis")] if name else []
    for value in ticks(axis.low, axis.high, 4):
        y = TOP + height * (1 - axis.share(value))
        parts.append(el("line", x1=x_percent(0), x2=x_percent(1), y1=y, y2=y, class_="f-grid"))
        parts.append(text(form(value), f"{num(LEFT - 1)}%", y + 4, "end", "f-tick"))
    return Markup("").join(parts)


def x_axis(marks: Sequence[tuple[float, str]], height: int, name: str) -> Markup:
    """Tick labels below a plot of `height` pixels: (share, label) pairs, and the axis' name at the right."""
    parts = [
        text(label, x_percent(share), TOP + height + 16, "start" if share < 0.03 else "middle", "f-tick")
        if share < 0.97
        else text(label, x_percent(share), TOP + height + 16, "end", "f-tick")
        for share, label in marks
    ]
    return Markup("").join([*parts, text(name, x_percent(1), TOP + height + 33, "end", "f-axis")])

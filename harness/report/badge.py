"""A record as a badge: a small SVG with the score and whether it may be believed, for a README."""

from __future__ import annotations

from markupsafe import Markup

from harness.record import Record
from harness.report import view
from harness.report.svg import el
from harness.text import bpb

#: Colours of each tone with enough contrast for white text.
_COLOURS = {"bad": "#b0261c", "open": "#855300", "good": "#1c6a3b", "mute": "#5a5f67"}

_NAME = "golf-harness"

#: Width of one letter at 11 px, in pixels; `textLength` makes the text fit whatever font there is.
_LETTER = 6.8


def render(record: Record) -> str:
    """The badge: 20 pixels high, no script, no link, no font to load.

    Of a record that is not what was sealed it shows neither verdict nor score.
    """
    words, look = view.title(record)
    told, tone = words + (f" {bpb(record.score.val_bpb)} BPB" if record.score else ""), look.tone
    if view.doubts(record):
        told, tone = "record was altered", "bad"
    left, right = _wide(_NAME), _wide(told)
    said = f"{_NAME}: {told}"
    made = el(
        "svg",
        el("title", said),
        el("rect", width=left, height=20, fill="#33363b"),
        el("rect", x=left, width=right, height=20, fill=_COLOURS[tone]),
        el(
            "g",
            _text(_NAME, left / 2, left - 12),
            _text(told, left + right / 2, right - 12),
            fill="#fff",
            text_anchor="middle",
            font_family="Verdana,DejaVu Sans,sans-serif",
            font_size=11,
        ),
        xmlns="http://www.w3.org/2000/svg",
        width=left + right,
        height=20,
        role="img",
        aria_label=said,
    )
    return str(made) + "\n"


def _wide(text: str) -> int:
    return round(len(text) * _LETTER) + 12


def _text(text: str, middle: float, length: int) -> Markup:
    return el("text", text, x=middle, y=14, textLength=length)

"""Findings as sections of a page: texts cleaned, numbers formatted, witnesses made readable."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.record import Finding, Record, Witness
from harness.report import view
from harness.report.facts import Budget, Fact, fact
from harness.report.figures import draw
from harness.report.places import listed
from harness.text import clean, finite, label, number, prose

#: Rows of a witness that are listed.
_AFFECTED = 12

_WITNESS_FIELDS = ("position", "old_text", "new_text", "context_before", "context_after", "affected")


@dataclass(frozen=True)
class Swap:
    """The text around a changed token: context, the token as it was and as it became."""

    before: str
    old: str
    new: str
    after: str


@dataclass(frozen=True)
class Section:
    """One finding, ready for the template."""

    anchor: str
    finding: Finding
    look: view.Look
    key: tuple[str, str] | None
    rule_text: str
    metrics: Fact
    power: Fact
    position: str
    swap: Swap | None
    affected: tuple[tuple[str, str, str, str, str], ...]
    affected_left_out: int
    rest: Fact | None
    places: tuple[tuple[str, str], ...]
    places_left_out: int
    replay: str
    replay_in: str
    figures: tuple[tuple[str, Markup], ...]
    figures_left_out: int


def section(
    record: Record,
    finding: Finding,
    anchor: str,
    drawn: Sequence[tuple[str, Markup]],
    rules: Mapping[str, str],
    budget: Budget,
) -> Section:
    """Lays one finding out.

    Args:
        record: the one that holds the finding.
        finding: what a check concluded.
        anchor: the section's id on the page.
        drawn: the figures to show, (caption, markup).
        rules: text of each rule by its id.
        budget: how much of its values to show.
    """
    witness = finding.witness
    affected = _list(witness.data.get("affected")) if witness else []
    moved = [_moved(item, witness.data.get("position")) for item in affected[:_AFFECTED]] if witness else []
    rows = tuple(row for row in moved if row)
    rest = {
        name: value
        for name, value in (witness.data.items() if witness else ())
        if name not in _WITNESS_FIELDS or (name == "affected" and len(rows) != len(moved))
    }
    shown, more = listed(finding)
    return Section(
        anchor=anchor,
        finding=finding,
        look=view.LOOKS[finding.status],
        key=view.key_number(finding),
        rule_text=prose(rules.get(finding.rule, "")),
        metrics=fact(view.numbers(finding.metrics), budget),
        power=fact(view.numbers(finding.power), budget),
        position=number(witness.data["position"]) if witness and "position" in witness.data else "",
        swap=_swap(witness) if witness else None,
        affected=rows,
        affected_left_out=max(0, len(affected) - _AFFECTED) if rows else 0,
        rest=fact(rest, budget) if rest else None,
        places=tuple(shown),
        places_left_out=more,
        replay=view.replay(record, finding) or "",
        replay_in=view.replay_in(record),
        figures=tuple(drawn),
        figures_left_out=max(0, len(finding.figures) - len(drawn)),
    )


def _caption(name: str, figure: object) -> str:
    title = figure.get("title") if isinstance(figure, Mapping) else None
    return prose(title, 160) if title else label(name)


def _swap(witness: Witness) -> Swap | None:
    data = witness.data
    if "old_text" not in data and "new_text" not in data:
        return None
    before = str(data.get("context_before", ""))
    return Swap(
        before=clean(before[-160:], 160),
        old=_token(data.get("old_text", "")),
        new=_token(data.get("new_text", "")),
        after=clean(data.get("context_after", ""), 160),
    )


def _token(text: object) -> str:
    """A token's text with its blanks visible: they are often all that differs."""
    return clean(text, 80).replace(" ", "·") or "(empty)"


def _moved(item: object, flipped: object) -> tuple[str, str, str, str, str] | None:
    """One affected row: position, offset from the flipped one, value before, value after, change."""
    if not isinstance(item, Mapping) or "position" not in item:
        return None
    position, origin = finite(item["position"]), finite(flipped)
    old, new = finite(item.get("before")), finite(item.get("after"))
    return (
        number(item["position"]),
        f"{position - origin:+,.0f}".replace("+0", "0") if position is not None and origin is not None else "",
        _nats(item.get("before")),
        _nats(item.get("after")),
        _nats(new - old, "+") if old is not None and new is not None else "",
    )


def _nats(value: object, sign: str = "") -> str:
    """A loss with four decimals, so that a column of them lines up; anything else as it is."""
    if isinstance(value, float) and (value == 0 or 1e-3 <= abs(value) < 1e5):
        return f"{value:{sign}.4f}"
    return f"{value:{sign}.3g}" if isinstance(value, float) else number(value)


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else []


def figures(finding: Finding, anchor: str, most: int) -> list[tuple[str, Markup]]:
    """The first figures of a finding, drawn: (caption, markup)."""
    shown = list(finding.figures.items())[:most]
    return [
        (_caption(name, figure), draw(figure, f"{anchor}--figure-{index}"))
        for index, (name, figure) in enumerate(shown, 1)
    ]


def anchors(ids: Sequence[str]) -> list[str]:
    """A fragment id for every finding: its check id where that can be one, made unique where it is not."""
    used: dict[str, int] = {}
    out = []
    for name in ids:
        slug = re.sub(r"[^a-z0-9]+", "-", name[:80].lower()).strip("-") or "check"
        slug = f"check-{slug}" if slug.startswith("page") else slug  # the page's own ids start with "page-"
        used[slug] = used.get(slug, 0) + 1
        out.append(slug if used[slug] == 1 else f"{slug}--{used[slug]}")
    return out

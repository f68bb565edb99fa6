"""A record as one HTML page: no script, no other file, the same bytes for the same record.

Everything in a record is treated as text from a stranger: it is made visible and short by `text`, escaped by jinja2,
and the page's content security policy lets nothing run and nothing load.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from harness.errors import HarnessError
from harness.record import PLACES, Record
from harness.report import glossary, overview, view
from harness.report.facts import Budget, fact
from harness.report.figures import bars, draw
from harness.report.page import MAX_BYTES, environment
from harness.report.sections import Section, anchors, figures, section
from harness.text import bpb

__all__ = ["MAX_BYTES", "render"]

#: Budgets, and figures per finding, that are tried in turn until the page is small enough.
_BUDGETS = ((Budget(), 12), (Budget(rows=12, text=160, depth=2), 3), (Budget(rows=4, text=80, depth=1), 0))


def render(record: Record, rules: Mapping[str, str] | None = None) -> str:
    """The page for a record.

    Args:
        record: what to show. Nothing else is read, neither files nor the clock.
        rules: text of each rule by its id, quoted beside the findings that serve it.

    Returns:
        A complete HTML document of less than 300,000 bytes.

    Raises:
        HarnessError: the record holds so many findings that no page of that size can show them.
    """
    findings = view.worst_first(record)
    names = anchors([finding.id for finding in findings])
    drawn = [figures(finding, name, _BUDGETS[0][1]) for finding, name in zip(findings, names, strict=True)]
    for finding, art in zip(findings, drawn, strict=True):
        if finding.id == "causality":
            art += _drawn(overview.priced(record), "page-price")
            break
    for budget, most in _BUDGETS:
        sections = [
            section(record, finding, name, art[:most], rules or {}, budget)
            for finding, name, art in zip(findings, names, drawn, strict=True)
        ]
        page = _page(record, sections, budget, most)
        if len(page.encode()) < MAX_BYTES:
            return page
    raise HarnessError(
        f"the report would exceed {MAX_BYTES:,} bytes: the record holds {len(record.findings):,} findings; "
        "report each submission on its own"
    )


def _page(record: Record, sections: Sequence[Section], budget: Budget, most: int) -> str:
    sticks = view.yardsticks(record)
    size = view.total_bytes(record)
    limit = record.artifact.limit if record.artifact else 0
    template = environment().get_template("report.html.j2")
    return template.render(
        record=record,
        words=view.title(record)[0],
        look=view.title(record)[1],
        title_icon=view.title_icon(record),
        looks=view.LOOKS,
        replies=view.replies(record),
        outcome=view.outcome_sentence(record),
        tally=view.tally(record),
        doubts=view.doubts(record),
        rulings=view.rulings(record),
        sections=sections,
        claim=view.claimed_bpb(record),
        honest=view.honest_bpb(record),
        interval=view.honest_interval(record),
        date=view.run_date(record),
        charts=_drawn(overview.figures(record)[:most], "page-figure"),
        power=overview.power(record),
        size=size,
        counted=view.counted(record),
        fill=min(size[1] / limit, 1.0) if size and limit > 0 else 1.0,
        comparison=_comparison(sticks) if sticks else None,
        details=[(title, fact(value, budget)) for title, value in _details(record)],
        words_used=glossary.used([_words(section) for section in sections]),
        raw_sha256=hashlib.sha256(record.to_json().encode(errors="replace")).hexdigest(),
        command=view.command(record),
    )


def _words(section: Section) -> str:
    """What a section says in words and labels."""
    finding = section.finding
    said = [finding.headline, section.rule_text, finding.remedy or "", *finding.not_covered[:20]]
    said += [one.label for one in (*finding.metrics, *finding.power)]
    return "\n".join([*said, finding.witness.summary if finding.witness else "", finding.status])


def _drawn(made: Sequence[tuple[str, Mapping[str, Any]]], prefix: str) -> list[tuple[str, Markup]]:
    return [(caption, draw(figure, f"{prefix}-{index}")) for index, (caption, figure) in enumerate(made, 1)]


def _comparison(sticks: Sequence[view.Yardstick]) -> Markup:
    rows = [{"label": stick.name, "value": stick.bpb, "text": bpb(stick.bpb), "status": stick.role} for stick in sticks]
    return bars({"title": "Bits per byte, lower is better", "bars": rows}, "page-comparison")


def _details(record: Record) -> list[tuple[str, Any]]:
    """What stands below the findings, folded: (title, value), empty ones left out."""
    score = record.score.model_dump() if record.score else {}
    for seed in score.get("per_seed", []):
        seed["artifact_sha256"] = f"{seed['artifact_sha256'][:12]}…"  # the whole one would not fit a phone's table
    artifact = record.artifact.model_dump() if record.artifact else {}
    data = record.data.model_dump()
    passes = data["facts"].pop("passes", None)  # an unmodified script's: worth a table of their own
    sections: list[tuple[str, Any]] = [
        ("Passes over the validation stream", passes),
        ("Score", score),
        ("Artifact", artifact),
        ("Scored text", data),
        ("Audit", {**record.audit.model_dump(), "seed": str(record.audit.seed)} if record.audit else {}),
        ("Claims of the submission", record.submission.claims),
        ("Settings", record.submission.settings),
        ("Clocks", record.clocks),
        ("Environment", {name: value for name, value in record.environment.items() if name != PLACES}),
        ("Timing of the harness", record.timing),
        ("Harness", record.harness.model_dump()),
    ]
    return [(title, value) for title, value in sections if value]

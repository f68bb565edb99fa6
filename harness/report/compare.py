"""Two records side by side, as an HTML page and in a terminal: what differs, and whether the scores can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import HarnessError
from harness.record import PLACES, SEVERITY, Finding, Record
from harness.report import view
from harness.report.figures import draw
from harness.report.page import MAX_BYTES, environment
from harness.report.significant import beats, same_text
from harness.text import bpb, brief, clean, label, number, plain, prose

#: Rows of a table that are shown; the rest is counted.
_ROWS = 60


@dataclass(frozen=True)
class Pair:
    """One check in both records; None where a record has no such finding."""

    id: str
    left: Finding | None
    right: Finding | None

    @property
    def differs(self) -> bool:
        """Whether the two statuses are not the same."""
        return (self.left and self.left.status) != (self.right and self.right.status)


@dataclass(frozen=True)
class Row:
    """One value in both records, as text."""

    name: str
    left: str
    right: str


@dataclass(frozen=True)
class Comparison:
    """Everything that the views of a comparison say.

    Attributes:
        left: the first record.
        right: the second.
        sentence: which one scores lower, by how much, and what the ruleset's bar says of it.
        doubts: reasons not to compare the scores, or not to trust a file.
        pairs: the checks, worst first.
        numbers: numbers of checks that differ.
        facts: everything else that differs: submission, data, artifact, clocks, environment.
    """

    left: Record
    right: Record
    sentence: str
    doubts: list[str]
    pairs: list[Pair]
    numbers: list[Row]
    facts: list[Row]


def compare(left: Record, right: Record) -> Comparison:
    """Lay two records beside each other."""
    pairs = _pairs(left, right)
    numbers = [
        Row(f"{pair.id}: {label(name)}", _value(a), _value(b))
        for pair in pairs
        if pair.left and pair.right
        for name, a, b in _differing(view.numbers(pair.left.metrics), view.numbers(pair.right.metrics))
        if a is not None and b is not None
    ]
    facts = [Row(label(name), _value(a), _value(b)) for name, a, b in _differing(_facts(left), _facts(right))]
    return Comparison(left, right, _sentence(left, right), _doubts(left, right), pairs, numbers, facts)


def render(left: Record, right: Record) -> str:
    """The comparison as one HTML page, under the same law as a report: no script, one file, the same bytes again.

    Raises:
        HarnessError: the records hold so much that no page of 300,000 bytes shows it.
    """
    made = compare(left, right)
    for rows in (_ROWS, 10):
        page = (
            environment()
            .get_template("compare.html.j2")
            .render(
                made=made,
                records=(left, right),
                looks=view.LOOKS,
                titles=[view.title(record) for record in (left, right)],
                icons=[view.title_icon(record) for record in (left, right)],
                replies=[view.replies(record) for record in (left, right)],
                names=_names(left, right),
                figure=_figure(left, right),
                numbers=made.numbers[:rows],
                numbers_left_out=max(0, len(made.numbers) - rows),
                facts=made.facts[:rows],
                facts_left_out=max(0, len(made.facts) - rows),
                pairs=made.pairs[: 4 * rows],
                pairs_left_out=max(0, len(made.pairs) - 4 * rows),
                honest=[view.honest_bpb(record) for record in (left, right)],
                dates=[view.run_date(record) for record in (left, right)],
            )
        )
        if len(page.encode()) < MAX_BYTES:
            return page
    raise HarnessError(f"the comparison would exceed {MAX_BYTES:,} bytes: the records hold too many findings")


def show(left: Record, right: Record, console: Console) -> None:
    """Prints the comparison: the sentence, the scores, the checks that differ, then the numbers that do."""
    made, names = compare(left, right), _names(left, right)
    console.print(Text(plain(made.sentence, 600)))
    for doubt in made.doubts:
        console.print(Text(f"warning: {plain(doubt)}", "bold red"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in ("", *names):
        table.add_column(Text(plain(brief(head, 40))), overflow="fold")
    for row in [
        *(
            Row(one.question, one.word, other.word)
            for one, other in zip(view.replies(left), view.replies(right), strict=True)
        ),
        Row("BPB", *(_bpb(record) for record in (left, right))),
        *(
            Row(pair.id, *(view.LOOKS[one.status].word if one else "absent" for one in (pair.left, pair.right)))
            for pair in made.pairs
            if pair.differs
        ),
        *made.numbers[:_ROWS],
        *made.facts[:_ROWS],
    ]:
        table.add_row(*(Text(plain(cell, 120)) for cell in (row.name, row.left, row.right)))
    console.print(table)
    same = sum(not pair.differs for pair in made.pairs)
    console.print(Text(f"{same} of {len(made.pairs)} checks say the same", "dim"))


def _pairs(left: Record, right: Record) -> list[Pair]:
    sides: list[dict[str, Finding]] = [{}, {}]
    for side, record in zip(sides, (left, right), strict=True):
        for finding in record.findings:
            side.setdefault(finding.id, finding)
    pairs = [Pair(name, sides[0].get(name), sides[1].get(name)) for name in dict.fromkeys([*sides[0], *sides[1]])]
    worst = {id(pair): min(SEVERITY.index(one.status) for one in (pair.left, pair.right) if one) for pair in pairs}
    return sorted(pairs, key=lambda pair: (worst[id(pair)], not pair.differs))


def _sentence(left: Record, right: Record) -> str:
    if left.score is None or right.score is None:
        return "At least one of the two has no score."
    if view.doubts(left) or view.doubts(right):
        return "At least one of the two is not what was sealed, so neither is called better."
    if not same_text(left, right):
        return "The scores are not of the same text and scale, so neither is better than the other."
    gap = right.score.val_bpb - left.score.val_bpb
    if gap == 0:
        return "Both have the same score."
    new, previous, which = (left, right, "first") if gap > 0 else (right, left, "second")
    said = beats(new, previous).said
    but = "" if view.counts(new) else f", and it does not count: {view.title(new)[0]}"
    return f"The {which} scores {abs(gap):.4f} BPB lower ({said}){but}."


def _rulings(record: Record) -> str:
    return record.ruleset.rulings.sha256 if record.ruleset.rulings else ""


def _doubts(left: Record, right: Record) -> list[str]:
    found = [f"{name}: {doubt}" for name, one in (("first", left), ("second", right)) for doubt in view.doubts(one)]
    if left.ruleset.sha256 != right.ruleset.sha256:
        found.append("The two were judged by different rulesets.")
    elif _rulings(left) != _rulings(right):
        found.append("The two were judged by different rulings.")
    if left.harness.version != right.harness.version:
        found.append("The two were judged by different versions of the harness.")
    return found


def _differing(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    names = dict.fromkeys([*left, *right])
    return [(name, left.get(name), right.get(name)) for name in names if left.get(name) != right.get(name)]


def _facts(record: Record) -> dict[str, Any]:
    """What is compared beside the findings, flat, by names for people."""
    artifact, score = record.artifact, record.score
    facts: dict[str, Any] = {
        "submission": record.submission.name,
        "submission SHA-256": record.submission.sha256[:16],
        "author": record.submission.author,
        "track": record.submission.track,
        "scale": record.scale,
        "seeds": ", ".join(map(str, record.seeds[:10])),
        "ruleset": record.ruleset.name,
        "harness": record.harness.version,
        "harness commit": (record.harness.commit or "")[:12] or None,
        "data": record.data.name,
        "data SHA-256": record.data.sha256[:16],
        "scored tokens": score.tokens if score else None,
        "scored bytes": score.bytes if score else None,
        "loss, nats per token": score.val_loss if score else None,
        "artifact, bytes": artifact.bytes if artifact else None,
        "artifact SHA-256": artifact.sha256[:16] if artifact else None,
    }
    for group, values in (
        ("artifact and code", artifact.total if artifact else {}),
        ("setting", record.submission.settings),
    ):
        facts |= {f"{group}, {name}": value for name, value in values.items()}
    facts |= {
        f"claimed {name}": value
        for name, value in record.submission.claims.items()
        if name not in ("name", "author", "blurb")
    }
    for group, told in (("clock", record.clocks), ("environment", record.environment)):
        for name, value in told.items():
            if name == PLACES:
                continue
            inner = value.items() if isinstance(value, Mapping) else [(None, value)]
            facts |= {f"{group}, {name}" if key is None else f"{group}, {name}, {key}": one for key, one in inner}
    return facts


def _value(value: object) -> str:
    if isinstance(value, Mapping | list):
        return brief(value, 160)
    return "absent" if value is None else prose(number(value), 160)


def _bpb(record: Record) -> str:
    honest = view.honest_bpb(record)
    measured = bpb(record.score.val_bpb) if record.score else "no score"
    return measured + (f" (honest: about {bpb(honest)})" if honest is not None else "")


def _names(left: Record, right: Record) -> tuple[str, str]:
    """What the columns are called: the submissions' names, numbered where they are the same."""
    one, other = (clean(record.submission.name, 60) for record in (left, right))
    return (one, other) if one != other else (f"{one} (first)", f"{other} (second)")


def _figure(left: Record, right: Record) -> Any:
    bars = []
    for record, name in zip((left, right), _names(left, right), strict=True):
        for stick in view.yardsticks(record):
            if stick.role in ("measured", "honest"):
                bar: dict[str, Any] = {
                    "label": f"{brief(name, 30)}, {stick.role}",
                    "value": stick.bpb,
                    "status": stick.role,
                }
                interval = view.honest_interval(record) if stick.role == "honest" else None
                bars.append(bar | ({"low": interval[0], "high": interval[1]} if interval else {}))
    if not bars or not same_text(left, right):
        return None
    return draw({"type": "dots", "title": "Bits per byte of both", "unit": "BPB", "bars": bars}, "page-comparison")

"""The leaderboard: every record one row, tracks apart, ranked only where the score counts.

Only scores of the same text at the same scale stand in one table. A row counts when its score is VALID or UNRULED, no
limit is exceeded, no claim contradicted, and its record is what was sealed; the others are listed below the ranks with
what they would be without the leak, where that was priced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from harness.errors import HarnessError
from harness.record import Record
from harness.report import view
from harness.report.figures import draw
from harness.report.page import MAX_BYTES, environment
from harness.report.significant import beats, losses
from harness.text import brief, clean, prose

#: Rows of one table; a page holds some hundreds in all.
_ROWS = 400

#: Points of a table's figure.
_POINTS = 16

#: What separates tables, and what makes two records one entry.
_TABLE = ["track", "scale", "data", "text", "bytes"]
_SAME = ["submission", "scale", "text", "ruleset"]


@dataclass(frozen=True)
class Entry:
    """A record and where its own report is, as a relative address, or None."""

    record: Record
    link: str | None = None


@dataclass(frozen=True)
class Line:
    """One row: rank (None where the score does not count), the record, and what it is against the next that counts.

    Of a record that is not what was sealed, `against` says so.
    """

    rank: int | None
    entry: Entry
    against: str
    shown: bool | None

    @property
    def group(self) -> str:
        """The class that the filters go by: "counts", "fails" or "undecided"."""
        if view.counts(self.entry.record):
            return "counts"
        return "fails" if view.violated(self.entry.record) else "undecided"


@dataclass(frozen=True)
class Standing:
    """One table: what is compared in it, its rows in order, and its figure."""

    title: str
    track: str
    lines: list[Line]
    figure: Markup | None


def frame(entries: Sequence[Entry]) -> pd.DataFrame:
    """One row for each record, its columns plain values: what the board sorts, groups and exports by."""
    rows = [_row(index, entry.record) for index, entry in enumerate(entries)]
    return pd.DataFrame(rows, columns=list(_row(0, None)))


def standings(entries: Sequence[Entry]) -> list[Standing]:
    """The tables, Track A before B; in each, what counts by BPB, then what does not.

    Of several records of one submission on the same text under the same rules, that with the most seeds stays, and of
    those the latest; a record that is not what was sealed takes no other's place.
    """
    table = frame(entries)
    table = table.sort_values(["intact", "seeds", "date", "digest"], kind="stable").drop_duplicates(_SAME, keep="last")
    table["late"] = ~table["counts"]
    table = table.sort_values([*_TABLE, "late", "bpb", "name", "digest"], kind="stable")
    found: list[Standing] = []
    for key, group in table.groupby(_TABLE, sort=True, dropna=False):
        track, scale, data = (str(part) for part in tuple(key)[:3])
        size = int(group["bytes"].iloc[0])
        chosen = [entries[int(index)] for index in group["index"][:_ROWS]]
        lines = _lines(chosen)
        shape = f"{brief(scale, 30)} scale, {brief(data, 60)}"
        text = f"{shape}, {size:,} bytes of text" if size >= 0 else f"{brief(scale, 30)} scale, nothing measured"
        title = f"Track {track}: {text}" if track != "-" else f"No track stated: {text}"
        found.append(Standing(title, str(track), lines, _figure(lines, len(found))))
    return found


def render(entries: Sequence[Entry]) -> str:
    """The board as one HTML page: no script, no other file; its filters are radio buttons and CSS.

    Raises:
        HarnessError: more records than a page of 300,000 bytes can show.
    """
    tables = standings(entries)
    page = (
        environment()
        .get_template("board.html.j2")
        .render(
            tables=tables,
            looks=view.LOOKS,
            tracks=sorted({table.track for table in tables}),
            records=sum(len(table.lines) for table in tables),
            rulesets=sorted({clean(entry.record.ruleset.name, 60) for entry in entries}),
            view=view,
        )
    )
    if len(page.encode()) >= MAX_BYTES:
        raise HarnessError(f"the board would exceed {MAX_BYTES:,} bytes; give it fewer than {len(entries):,} records")
    return page


def to_csv(entries: Sequence[Entry]) -> str:
    """The board's data as CSV. No cell can be taken for a formula by a spreadsheet."""
    table = frame(entries).drop(columns=["index"]).sort_values([*_TABLE, "bpb", "name"], kind="stable")
    for name in table.columns:
        table[name] = table[name].map(_harmless)
    return table.to_csv(index=False, lineterminator="\n")


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _row(index: int, record: Record | None) -> dict[str, Any]:
    """The columns of a record; of None, just their names matter."""
    if record is None:
        return dict.fromkeys(_COLUMNS)
    score, interval = record.score, view.honest_interval(record)
    values = (
        index,
        prose(record.submission.name, 120),
        prose(record.submission.author or "", 80),
        record.submission.track or "-",
        clean(record.scale, 40),
        clean(record.data.name, 60),
        record.data.sha256[:64],
        score.bytes if score else -1,
        record.verdict.value,
        *(answer.answer for _, answer in record.answers.items()),
        view.counts(record),
        score.val_bpb if score else None,
        view.honest_bpb(record),
        interval[0] if interval else None,
        interval[1] if interval else None,
        view.claimed_bpb(record),
        (view.total_bytes(record) or (None, None))[1],
        len(losses(record)),
        clean(record.ruleset.name, 60),
        view.run_date(record) or "",
        record.submission.sha256[:64],
        record.digest[:64],
        not view.doubts(record),
    )
    return dict(zip(_COLUMNS, values, strict=True))


_COLUMNS = (
    *("index", "name", "author", "track", "scale", "data", "text", "bytes", "verdict", "score", "limits", "claim"),
    *(
        "counts",
        "bpb",
        "honest bpb",
        "honest low",
        "honest high",
        "claimed bpb",
        "total bytes",
        "seeds",
        "ruleset",
        "date",
        "submission",
        "digest",
        "intact",
    ),
)


def _lines(entries: Sequence[Entry]) -> list[Line]:
    counting = [entry for entry in entries if view.counts(entry.record)]
    lines = []
    for rank, entry in enumerate(counting, 1):
        if rank == len(counting):
            lines.append(Line(rank, entry, "", None))
        else:
            beaten = beats(entry.record, counting[rank].record)
            lines.append(Line(rank, entry, beaten.said, beaten.met))
    kept = {id(entry) for entry in counting}
    return lines + [
        Line(None, entry, " ".join(view.doubts(entry.record)), None) for entry in entries if id(entry) not in kept
    ]


def _figure(lines: Sequence[Line], index: int) -> Markup | None:
    """Measured and honest scores of a table as points on one axis."""
    bars: list[dict[str, Any]] = []
    for line in lines:
        record = line.entry.record
        if record.score is None:
            continue
        name, honest = brief(prose(record.submission.name), 34), view.honest_bpb(record)
        status = "PASS" if line.rank else "FAIL" if line.group == "fails" else "reference"
        bars.append({"label": name, "value": record.score.val_bpb, "status": status})
        if honest is not None:
            bar: dict[str, Any] = {"label": f"{name}, honest", "value": honest, "status": "honest"}
            interval = view.honest_interval(record)
            bars.append(bar | ({"low": interval[0], "high": interval[1]} if interval else {}))
    if len(bars) < 2:
        return None
    figure = {"type": "dots", "title": "Bits per byte, lower is better", "unit": "BPB", "bars": bars[:_POINTS]}
    return draw(figure, f"page-standing-{index + 1}")

"""The end of a batch: all outcomes, worst first, for people, programs and spreadsheets."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.batch.outcome import WORST, Outcome
from harness.environment import harness_info
from harness.files import write_atomically
from harness.text import plain

SCHEMA = "harness.batch/1"
_STYLES = {0: "green", 1: "bold red", 2: "yellow", 3: "bold yellow", 4: "bold red"}
_MEANS = {
    0: "no rule is violated",
    1: "a rule is violated",
    2: "unusable input",
    3: "undecided",
    4: "the harness or its environment failed",
}
_WIDEST = 56  # characters of a label
_REASONS = 8  # that are printed; batch.json has all
_REVISION = re.compile(r"@(?:refs/)?([^@:\s]+?)(?:/head)?:")
_FORMULAS = ("=", "+", "-", "@")


def worst(outcomes: Sequence[Outcome]) -> int:
    """The exit code of a batch: the worst of its items', in the order of `WORST`."""
    codes = {outcome.exit_code for outcome in outcomes}
    return next((code for code in WORST if code in codes), 0)


def write(outcomes: Sequence[Outcome], out: Path, facts: Mapping[str, Any]) -> None:
    """Write batch.json and batch.csv into `out`; seconds stand apart, so that the rest is the same every time."""
    ordered = sorted(outcomes, key=lambda outcome: outcome.rank)
    body = {
        "schema": SCHEMA,
        "exit_code": worst(ordered),
        "harness": harness_info().model_dump(mode="json"),
        **facts,
        "counts": dict(sorted(Counter(outcome.outcome for outcome in ordered).items())),
        "claims": dict(sorted(Counter(outcome.claim for outcome in ordered if outcome.claim).items())),
        "reasons": dict(_reasons(ordered)),
        "items": [outcome.model_dump(mode="json", exclude={"seconds"}) for outcome in ordered],
        "seconds": {outcome.label: outcome.seconds for outcome in ordered},
    }
    text = json.dumps(body, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomically(out / "batch.json", text.encode("utf-8", "replace"))
    frame(ordered).to_csv(out / "batch.csv", index=False)


def frame(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """One row for each outcome, in the order given; text that a spreadsheet would compute gets an apostrophe."""
    rows = []
    for outcome in outcomes:
        row = outcome.model_dump(mode="json")
        row |= {name: " ".join(getattr(outcome, name)) for name in ("failed", "unruled", "reasons")}
        row |= {name: _cell(value) for name, value in row.items() if isinstance(value, str)}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(Outcome.model_fields))


def show(outcomes: Sequence[Outcome], console: Console, out: Path) -> None:
    """Print a line for each outcome, worst first, then the counts, the exit code and which item it comes from."""
    ordered = sorted(outcomes, key=lambda outcome: outcome.rank)
    table = Table(box=None, pad_edge=False, expand=True)
    for title in ("score", "limits", "claim", "submission"):
        table.add_column(title, no_wrap=True)
    for title in ("BPB", "claimed", "s"):
        table.add_column(title, no_wrap=True, justify="right")
    table.add_column("why", no_wrap=True, overflow="ellipsis", ratio=1)
    for outcome in ordered:
        table.add_row(
            Text(outcome.score or outcome.outcome, _STYLES[outcome.exit_code]),
            outcome.limits or "",
            outcome.claim or "",
            _short(plain(outcome.label)),
            _bpb(outcome.val_bpb),
            _bpb(outcome.claimed_bpb),
            f"{outcome.seconds:.0f}",
            Text(_why(outcome)),
        )
    if not console.is_terminal:
        console = Console(file=console.file, width=200)
    console.print(table)
    counts = Counter(outcome.outcome for outcome in ordered)
    waived = sum(outcome.waivers for outcome in ordered)
    waivers = f"; {waived} waiver{'s' if waived > 1 else ''}" if waived else ""
    console.print(f"\n{', '.join(f'{count} {name}' for name, count in counts.items())}{waivers}; {out / 'batch.json'}",
                  soft_wrap=True, highlight=False, markup=False)  # fmt: skip
    if counted := _reasons(ordered):
        claims = Counter(outcome.claim for outcome in ordered if outcome.claim)
        told = ", ".join(f"{count} {name}" for name, count in claims.items())
        why = ", ".join(f"{count} {name}" for name, count in counted[:_REASONS])
        console.print(f"claims: {told}; why: {why}", soft_wrap=True, highlight=False, markup=False)
    code = worst(ordered)
    first = ordered[0]
    more = sum(outcome.exit_code == code for outcome in ordered) - 1
    others = f" and {more} more" if more else ""
    where = "" if code == 0 else f": {plain(first.label)}{others}"
    console.print(f"exit code {code}, {_MEANS[code]}{where}", soft_wrap=True, highlight=False, markup=False)


def _reasons(outcomes: Sequence[Outcome]) -> list[tuple[str, int]]:
    """Reasons by how many items have them, the most frequent first."""
    counted = Counter(reason for outcome in outcomes for reason in outcome.reasons)
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))


def _why(outcome: Outcome) -> str:
    if outcome.same_as is not None:
        return f"the same files as {plain(outcome.same_as, 120)}"
    return plain(outcome.headline, 200)


def _short(label: str) -> Text:
    """For a revision, its name and the folder's: pull/1333:2026-04-04_Name."""
    revision = _REVISION.search(label)
    text = f"{revision[1]}:{label.rsplit('/', 1)[-1]}" if revision else label
    return Text(text if len(text) <= _WIDEST else f"…{text[1 - _WIDEST :]}")


def _bpb(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _cell(value: str) -> str:
    text = plain(value, 1000)
    return f"'{text}" if text.startswith(_FORMULAS) else text

"""`python -m benchmarks.papers DIR...`: what `harness lint` finds over many folders, as Markdown.

A DIR is a submission's folder or holds such folders at any depth, such as a checkout's `records/`.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import rules
from harness.papers.linting import CHECKS, Linted, lint
from harness.record import SEVERITY, Status
from harness.text import clean

_SHOWN = (Status.FAIL, Status.ERROR)


def folders(roots: Sequence[Path]) -> Iterator[Path]:
    """Folders below the roots that look like a submission: submission.json, a train_gpt.py, or a training log."""
    for root in roots:
        for place, below, names in os.walk(root):
            below.sort()
            marks = [name for name in names if name in ("submission.json", "train_gpt.py") or _is_log(name)]
            if marks:
                below.clear()  # what lies inside belongs to this submission
                yield Path(place)


def _is_log(name: str) -> bool:
    return name.startswith("train") and name.endswith((".log", ".txt"))


def label(path: Path) -> str:
    """The folder's name, with the number of its pull request where it lies below a folder that is called so."""
    parts = path.resolve().parts
    number = next((f"#{int(part)} " for part in reversed(parts[-4:-1]) if part.isdigit()), "")
    return number + clean(parts[-1], 60)


def markdown(linted: Sequence[Linted]) -> str:
    """Counts by check and status, then every FAIL with its headline."""
    counts = Counter((found.id, found.status) for one in linted for found in one.findings)
    used = [status for status in SEVERITY if any(counts[check, status] for check in CHECKS)]
    rows = [f"{len(linted)} folders.", "", "| check | " + " | ".join(status.value for status in used) + " |"]
    rows.append("|---|" + "---:|" * len(used))
    for check in CHECKS:
        rows.append(f"| {check} | " + " | ".join(str(counts[check, status]) for status in used) + " |")
    rows += ["", "| folder | check | finding |", "|---|---|---|"]
    for one in linted:
        for found in one.findings:
            if found.status in _SHOWN:
                name = label(one.path).replace("|", "/")
                rows.append(
                    f"| {name} | {found.id} {found.status.value} | {clean(found.headline, 300).replace('|', '/')} |"
                )
    return "\n".join(rows) + "\n"


def main() -> None:
    """Print the survey of the folders on the command line."""
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m benchmarks.papers DIR...")
    ruleset = rules.load()
    sys.stdout.write(markdown([lint(path, ruleset) for path in folders([Path(name) for name in sys.argv[1:]])]))


if __name__ == "__main__":
    main()

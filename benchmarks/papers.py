"""`python -m benchmarks.papers DIR...`: what `harness lint` finds over many folders, as Markdown.

A DIR is a submission's folder or holds such folders at any depth, such as a checkout's `records/`; or it is what
`harness batch --lint` has left, whose records are taken as they are.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import rules
from harness.papers.linting import CHECKS, lint, record_of
from harness.papers.reasons import known
from harness.record import SEVERITY, Record, Status
from harness.report import view
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


def records(roots: Sequence[Path]) -> Iterator[tuple[str, Record]]:
    """(label, record) of every folder, or of every item of a batch; equal files are one item there."""
    ruleset = rules.load()
    for root in roots:
        if (root / "batch.json").is_file():
            for item in json.loads((root / "batch.json").read_text())["items"]:
                if item["claim"] is not None and item["same_as"] is None:
                    pull = re.search(r"pull/(\d+)/", item["label"])
                    name = clean(item["label"].rsplit("/", 1)[-1], 60)
                    yield f"#{pull[1]} {name}" if pull else name, Record.load(root / item["home"])
        else:
            for path in folders([root]):
                yield label(path), record_of(lint(path, ruleset), ruleset)


def markdown(made: Sequence[tuple[str, Record]], *, failed: bool = True) -> str:
    """Counts by check and status, answers, reasons; then every FAIL with its headline.

    Args:
        made: label and record of each folder.
        failed: list what failed.
    """
    counts = Counter((found.id, found.status) for _, one in made for found in one.findings)
    used = [status for status in SEVERITY if any(counts[check, status] for check in CHECKS)]
    rows = [f"{len(made):,} folders.", "", "| check | " + " | ".join(status.value for status in used) + " |"]
    rows.append("|---|" + "---:|" * len(used))
    for check in CHECKS:
        rows.append(f"| {check} | " + " | ".join(str(counts[check, status]) for status in used) + " |")
    answers = Counter(one.answers.claim.answer for _, one in made)
    rows += ["", "Claims: " + ", ".join(f"{count:,} {word}" for word, count in answers.most_common()) + "."]
    reasons = Counter(reason for _, one in made for reason in view.reasons(one))
    contradicted = Counter(
        reason for _, one in made for found in one.findings if found.status == Status.FAIL
        for reason in found.value("reasons") or ()
    )  # fmt: skip
    rows += ["", "| reason | folders | of them FAIL | what it means |", "|---|---:|---:|---|"]
    for reason, count in reasons.most_common():
        rows.append(f"| `{reason}` | {count:,} | {contradicted[reason] or ''} | {known()[reason].says} |")
    rows += ["", "| folder | check | finding |", "|---|---|---|"] if failed else []
    for name, one in made if failed else ():
        for found in one.findings:
            if found.status in _SHOWN:
                told = clean(found.headline, 300).replace("|", "/")
                rows.append(f"| {name.replace('|', '/')} | {found.id} {found.status.value} | {told} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Print the survey of the folders on the command line."""
    words = [word for word in sys.argv[1:] if word != "--no-fails"]
    if not words:
        raise SystemExit("usage: python -m benchmarks.papers [--no-fails] DIR...")
    sys.stdout.write(markdown(list(records([Path(word) for word in words])), failed="--no-fails" not in sys.argv))


if __name__ == "__main__":
    main()

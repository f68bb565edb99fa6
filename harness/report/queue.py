"""The board of a queue: every submission one row, by pull request, with three answers, the reason and its report.

The page is one file, or a few where the queue is long; links are relative, nothing is loaded, and there is no script.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from harness.report import view
from harness.report.page import environment
from harness.verdict import Word

#: Rows of one page; longer queues go on on the next.
ROWS = 400

#: How an outcome without a record is shown, in the place of the answers.
_TONES = {"UNUSABLE": "open", "TIMEOUT": "open", "CRASHED": "bad"}


@dataclass(frozen=True)
class Row:
    """One submission.

    Attributes:
        pull: its pull request.
        folder: its folder's name.
        author: as it says.
        claimed_bpb: likewise.
        answers: to the three questions, None where there is no record.
        outcome: the verdict in one word, or what came instead of one.
        reason: the sentence that decided.
        failed: ids of checks that failed.
        missing: files that it was judged without, because the clone lacks them.
        link: relative address of its report.
    """

    pull: int | None
    folder: str
    author: str | None
    claimed_bpb: float | None
    answers: Mapping[str, Word | None]
    outcome: str
    reason: str
    failed: Sequence[str] = ()
    missing: Sequence[str] = ()
    link: str | None = None

    @property
    def judged(self) -> bool:
        """Whether there is a record."""
        return self.answers.get("score") is not None

    @property
    def tone(self) -> str:
        """Colour class of an outcome without a record."""
        return _TONES.get(self.outcome, "mute")

    @property
    def address(self) -> str | None:
        """The link, as an address of this folder."""
        return None if self.link is None else "./" + quote(self.link)


@dataclass(frozen=True)
class Facts:
    """What stands above the table: the rules' title, what was left out, who has no row, and the rules' name."""

    rules: str
    left_out: str
    bare: str
    ruleset: str


def render(rows: Sequence[Row], facts: Facts) -> dict[str, str]:
    """The pages by file name, index.html first; rows by number, the newest first, and by folder."""
    ordered = sorted(rows, key=lambda row: (-(row.pull or 0), row.folder))
    parts = [ordered[start : start + ROWS] for start in range(0, len(ordered), ROWS)] or [[]]
    names = ["index.html", *(f"page-{number}.html" for number in range(2, len(parts) + 1))]
    counts = Counter(row.answers.get("score") or row.outcome for row in rows)
    template = environment().get_template("queue.html.j2")
    return {
        name: template.render(
            rows=part,
            facts=facts,
            counts=sorted(counts.items(), key=lambda item: (-item[1], item[0])),
            total=len(rows),
            pulls=len({row.pull for row in rows}),
            names=names,
            here=name,
            look_of=view.look_of,
            icon_of=view.icon_of,
        )
        for name, part in zip(names, parts, strict=True)
    }

"""What an audit says: findings, a record, and ways to show or raise them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from html import escape
from pathlib import Path

from harness.audit.replays import Replay, outcome
from harness.errors import UsageError
from harness.record import Finding, Record, Status
from harness.report import formats
from harness.text import clean

#: Statuses that decide nothing.
OPEN = (Status.INCONCLUSIVE, Status.NOT_RUN, Status.ERROR)


class Leak(AssertionError):
    """A rule is violated. `report` has the witness."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


class Undecided(AssertionError):
    """Nothing could be shown, one way or the other; this accuses nobody. `report` says why."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


class Report:
    """What was found.

    Attributes:
        record: the whole result; the record's own format, and every view of the harness shows it.
        sentence: which token moved which row by how much; empty where nothing did.
        calls: forward passes, or calls of the scorer.
        sequences: what was played, in sequences of the main length.
        floor: nats; changes up to this were taken for none.
    """

    def __init__(
        self,
        record: Record,
        sentence: str,
        calls: int,
        sequences: float,
        floor: float,
        again: Callable[[], Report],
    ) -> None:
        self.record = record
        self.sentence = sentence
        self.calls = calls
        self.sequences = sequences
        self.floor = floor
        self._again = again

    @property
    def findings(self) -> list[Finding]:
        """What each check said."""
        return self.record.findings

    def finding(self, check: str) -> Finding:
        """What one check said.

        Raises:
            UsageError: it was not made.
        """
        found = next((one for one in self.findings if one.id == check), None)
        if found is None:
            raise UsageError(f"no check {check!r} was made; there are {', '.join(one.id for one in self.findings)}")
        return found

    @property
    def ok(self) -> bool:
        """Every check that was made, and applies, passed."""
        return all(one.status in (Status.PASS, Status.NOT_APPLICABLE) for one in self.findings)

    def raise_for_status(self, *, allow: Collection[str] = ()) -> None:
        """Raise where a rule is violated, or where a check decided nothing.

        Args:
            allow: ids of checks that may stay undecided.

        Raises:
            Leak: with the witness in one sentence. An AssertionError.
            Undecided: with the reason. An AssertionError.
        """
        failed = [one for one in self.findings if one.status == Status.FAIL]
        if failed:
            first = failed[0]
            said = self.sentence if first.id == "causality" and self.sentence else f"{first.id}: {first.headline}"
            raise Leak(said, self)
        wait = [one for one in self.findings if one.status in OPEN and one.id not in allow]
        # Where nothing can be seen in the noise, the noise is the reason.
        wait.sort(key=lambda one: one.id != "causality")
        if wait:
            raise Undecided(f"{wait[0].id} is {wait[0].status}: {wait[0].headline}", self)

    def replay(self, check: str = "causality") -> Replay:
        """Make the same calls again, and say whether the witness of a finding is the same.

        Raises:
            UsageError: the finding has no witness.
        """
        recorded = self.finding(check)
        if recorded.witness is None:
            raise UsageError(f"{check} is {recorded.status} and has no witness; there is nothing to replay")
        return outcome(recorded, self._again().finding(check))

    def to_html(self, path: str | Path) -> Path:
        """Write the report as one HTML page; returns its path."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        formats.write("html", self.record, target)
        return target

    def to_markdown(self) -> str:
        """The report as Markdown, as for a job's summary."""
        return formats.render("md", self.record)

    def table(self) -> list[tuple[str, str, str]]:
        """(check, status, headline) of every finding, and below each the witness, as ("", "witness", sentence)."""
        lines = []
        for one in self.findings:
            lines.append((one.id, str(one.status), one.headline))
            if one.witness is not None:
                lines.append(("", "witness", one.witness.summary))
        return lines

    def __str__(self) -> str:
        rows = self.table()
        wide = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
        lines = [f"{check:<{wide[0]}}  {status:<{wide[1]}}  {said}" for check, status, said in rows]
        return "\n".join([f"{self.record.verdict}: {self.record.submission.name}, {self.calls} calls", *lines])

    def __repr__(self) -> str:
        return f"<Report {self.record.verdict}: {self.sentence or f'{len(self.findings)} checks'}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td><code>{escape(check)}</code></td><td><b>{escape(status)}</b></td>"
            f"<td style='text-align:left'>{escape(clean(said, 600))}</td></tr>"
            for check, status, said in self.table()
        )
        head = f"{escape(str(self.record.verdict))}: {escape(self.record.submission.name)}"
        return f"<table><caption>{head}, {self.calls} calls</caption>{rows}</table>"

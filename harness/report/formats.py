"""Every view of one record: how it is made, and what its file beside the record is called.

A new format is a module with a function from record to text, and its entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.files import replace_together, write_atomically
from harness.record import Record
from harness.report import badge, html, junit, markdown, sarif


@dataclass(frozen=True)
class View:
    """One format.

    Attributes:
        render: from a record, and the texts of its rules by their ids, to the text of the file.
        file: what it is called beside record.json.
        what: what it is, as in "NAME is ...".
    """

    render: Callable[[Record, Mapping[str, str]], str]
    file: str
    what: str


VIEWS: dict[str, View] = {
    "html": View(html.render, "report.html", "the report"),
    "md": View(lambda record, _: markdown.render(record), "summary.md", "a job's summary"),
    "junit": View(lambda record, _: junit.render(record), "junit.xml", "test cases, one for each check"),
    "sarif": View(lambda record, _: sarif.render(record), "results.sarif", "what has a file and a line"),
    "badge": View(lambda record, _: badge.render(record), "badge.svg", "an SVG with verdict and score"),
}


def render(name: str, record: Record) -> str:
    """The view that `VIEWS` calls `name`, as text."""
    return VIEWS[name].render(record, _rules(record))


def write(name: str, record: Record, path: Path) -> None:
    """A view as a file. An older one is gone first: it is no longer true, whatever comes next.

    Raises:
        HarnessError: the file cannot be written, or the view cannot show the record.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror or error}") from None
    write_atomically(path, render(name, record).encode())


def save(record: Record, folder: Path, beside: Mapping[str, bytes] | None = None) -> None:
    """The record and its report, as every command leaves them in the folder of a run, and what belongs to them.

    All are made before any is written: what breaks until then leaves an earlier run's files as they are.

    Args:
        record: of the run that has ended.
        folder: of the run.
        beside: further files of the run, by name.

    Raises:
        HarnessError: a file cannot be written, or no page could show the record.
    """
    page = render("html", record).encode()
    made = {**(beside or {}), VIEWS["html"].file: page, "record.json": record.to_json().encode()}
    replace_together(folder, made)


def _rules(record: Record) -> dict[str, str]:
    """Texts of the rules that judged, by their ids; none where they are neither in the record nor at hand."""
    try:
        return {name: rule.text for name, rule in record.ruleset.load().rule.items()}
    except HarnessError:
        return {}

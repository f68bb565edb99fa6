"""A record in a few lines of text, for a terminal or a CI log."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from harness.record import Record
from harness.report import view
from harness.report.places import at
from harness.text import bpb, number, plain

#: Colour of each tone, for terminals that have colour.
_STYLES = {"bad": "bold red", "open": "bold yellow", "good": "green", "mute": "dim"}

_WIDEST = 100  #: columns; longer lines are hard to read


def summary(record: Record, console: Console, *, report: Path | None) -> None:
    """Prints the three answers, the exit code, the score, one line per finding worst first, and where the report is.

    Text from the record is printed as it is, never as markup, with control sequences and CI commands made harmless.
    Without a terminal there is neither colour nor padding.

    Args:
        record: what to show.
        console: where to; its width is respected, down to 40 columns.
        report: path of the HTML report, or None if none was written.
    """
    for reply in view.replies(record):
        said = Text.assemble((f"{reply.word}: ", _STYLES[reply.tone]), plain(reply.sentence, 600))
        _print(console, Text(f"{reply.question:<8}"), said)
    _print(console, Text(), Text(view.outcome_sentence(record), "dim"))
    for doubt in view.doubts(record):
        _print(console, Text("warning: ", "bold red"), Text(doubt))
    for ruling in view.rulings(record):
        _print(console, Text("ruling:  ", "bold yellow"), Text(plain(ruling, 1500)))
    console.print()
    _print(console, Text("BPB       "), _score(record))
    if (artifact := _artifact(record)) is not None:
        _print(console, Text("artifact  " if record.artifact else "bytes     "), artifact)
    _print(console, Text("run       "), Text(_context(record)))
    console.print()
    _findings(record, console)
    replays(record, console)
    if report is not None:
        console.print()
        # Not wrapped: a path broken over two lines can be neither clicked nor copied.
        console.print(Text(f"report    {plain(report, 4000)}"), soft_wrap=True)


def replays(record: Record, console: Console) -> None:
    """Prints the command that replays each finding with a witness, and where in the files the witness stands.

    A command is not wrapped, so that it can be copied.
    """
    made = [(finding, view.replay(record, finding)) for finding in view.worst_first(record)]
    replayed = [(finding, command) for finding, command in made if command is not None]
    if replayed:
        console.print()
    for finding, command in replayed:
        console.print(Text(f"replay    {command}"), soft_wrap=True)
        if said := at(finding):
            _print(console, Text("at        "), Text(plain(said, 1500)))


def _findings(record: Record, console: Console) -> None:
    findings = view.worst_first(record)
    words = max((len(view.LOOKS[finding.status].word) for finding in findings), default=0)
    names = min(max((len(plain(finding.id)) for finding in findings), default=0), 24)
    for finding in findings:
        look = view.LOOKS[finding.status]
        name = Text(plain(finding.id))
        name.truncate(names, overflow="ellipsis", pad=True)
        status = Text(look.word.ljust(words), _STYLES[look.tone])
        headline = Text(plain(finding.headline, 300))
        if console.width < 72:
            _print(console, status + "  ", Text(name.plain.rstrip() + ": ") + headline)
        else:
            _print(console, status + "  " + name + "  ", headline)


def _score(record: Record) -> Text:
    sticks = view.yardsticks(record)
    others = ", ".join(f"{stick.name} {bpb(stick.bpb)}" for stick in sticks if stick.role != "measured")
    measured = (bpb(record.score.val_bpb), "bold") if record.score else "no score"
    return Text.assemble(measured, f" ({others})" if others else "")


def _artifact(record: Record) -> Text | None:
    counted, size = view.counted(record), view.total_bytes(record)
    if not size or not record.artifact:
        return Text(counted) if counted else None
    limit = record.artifact.limit
    style = "bold red" if size[0] > limit else "bold yellow" if size[1] > limit else ""
    return Text.assemble(f"{number(record.artifact.bytes)} bytes, ", (counted, style))


def _context(record: Record) -> str:
    track = f"track {record.submission.track}, " if record.submission.track else ""
    seeds = "seed " + (", ".join(map(str, record.seeds[:10])) or "none")
    drawn = f", {record.audit.depth} audit {record.audit.seed}" if record.audit else ""
    return f"{track}{plain(record.scale, 40)} scale, {seeds}{drawn}, ruleset {plain(record.ruleset.name, 60)}"


def _print(console: Console, head: Text, body: Text) -> None:
    """Prints `body` after `head`, wrapped under its own first letter at the console's width, no trailing blanks."""
    width = max(min(console.width, _WIDEST) - head.cell_len, 20)
    for index, line in enumerate(body.wrap(console, width) or [Text()]):
        line.rstrip()
        console.print((head if index == 0 else Text(" " * head.cell_len)) + line, soft_wrap=True)

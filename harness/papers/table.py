"""A linted folder in a terminal: what is claimed, what was found, and the lines that say so."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.papers.linting import Linted
from harness.record import SEVERITY, Finding, Record, Status
from harness.report import view
from harness.text import clean
from harness.verdict import VIOLATED

_STYLES = {
    Status.FAIL: "bold red",
    Status.ERROR: "bold red",
    Status.INCONCLUSIVE: "bold yellow",
    Status.NOT_RUN: "yellow",
    Status.UNRULED: "bold yellow",
    Status.PASS: "green",
    Status.NOT_APPLICABLE: "dim",
}
_TONES = {"bad": "bold red", "open": "bold yellow", "good": "green", "mute": "dim"}
_MOST_LINES = 3


def show(linted: Linted, console: Console, record: Record | None = None) -> None:
    """One folder: its claim, the three answers, a row for each finding, worst first, with the lines it quotes.

    Args:
        linted: the folder.
        console: where to.
        record: of it, for the rulings that counted.
    """
    claims, headline = linted.claims, linted.case.headline
    console.print(Text(clean(linted.path.resolve().name, 120), "bold"), soft_wrap=True)
    claim = f"{claims.val_bpb.value:g} BPB" if claims.val_bpb else "no score"
    logs = {
        "mean": f"the mean of {len(headline.carried)} logs",
        "seeds": f"the seeds' claims stand in {len(headline.carried)} logs",
        "single": "the score of one log",
        "assumed": "found in no log",
        "none": "no log with a score",
    }[headline.how]
    kind = "a record" if linted.case.record else "no record"
    console.print(Text(f"claims {claim} ({logs}), {kind}; {clean(claims.author or 'author unknown', 60)}"))
    for ruling in view.rulings(record) if record is not None else ():
        console.print(Text.assemble(("ruling  ", "bold yellow"), f": {clean(ruling, 1500)}"))
    for question, answer in linted.decision.answers.items():
        look = view.look_of(answer.answer)
        style = _TONES[look.tone]
        console.print(Text.assemble(f"{question:<8}", (look.word, style), f": {clean(answer.sentence, 600)}"))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in sorted(linted.findings, key=lambda one: SEVERITY.index(one.status)):
        table.add_row(Text(finding.status.value, _STYLES[finding.status]), Text(finding.id), _told(finding))
    console.print(table)
    console.print()


def overview(linted: Sequence[Linted], console: Console) -> None:
    """One line for each folder."""
    for one in linted:
        answers = one.decision.answers
        words = ", ".join(answer.answer for _, answer in answers.items())
        answer = answers.score if answers.score.answer == "INVALID" else answers.limits
        answer = answer if answer.answer in VIOLATED else answers.claim
        line = Text.assemble(
            (f"{words:40s}", _STYLES[one.verdict]),
            f"{clean(one.path.resolve().name, 60):62s}",
            clean(answer.sentence, 120),
        )
        console.print(line, soft_wrap=True)


def _told(finding: Finding) -> Text:
    text = Text(clean(finding.headline, 600))
    if finding.status in (Status.PASS, Status.NOT_APPLICABLE):
        return text
    lines = finding.value("evidence")
    for line in (lines if isinstance(lines, list) else [])[:_MOST_LINES]:
        text.append(f"\n{clean(line, 240)}", "dim")
    more = finding.value("to_be_explained")
    for question in (more if isinstance(more, list) else [])[:6]:
        if question != finding.headline and str(question) not in finding.headline:
            text.append(f"\nalso: {clean(question, 300)}")
    return text

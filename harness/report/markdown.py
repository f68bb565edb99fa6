"""A record as Markdown for a job's summary or a comment on a pull request, at most 1 MiB.

GitHub's Markdown turns much into more than text: HTML, links, images, @mentions, #123, www.example.org, tables, fences.
Sentences are therefore escaped letter by letter, and names, tokens and commands stand in code spans, where nothing of
this happens. The view itself writes no link and no HTML.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.record import Finding, Record, Status
from harness.report import view
from harness.report.places import listed
from harness.text import bpb, brief, clean, number, prose

#: What GitHub takes as a step's summary, in bytes.
MAX_BYTES = 1 << 20

#: Findings that get a row, and findings that get a section, tried in turn until the text is small enough.
_BUDGETS = ((400, 40), (400, 5), (400, 0), (100, 0))

_SYMBOLS = {"bad": "❌", "open": "⚠️", "good": "✅", "mute": "➖"}

#: Letters that mean something wherever they stand, and those that do at the beginning of a line only.
_ANYWHERE = re.compile(r"([\\`*_{}\[\]<>()#!|~&@^$])")
_AT_START = re.compile(r"^(\d*)([-+=.:])")

#: After these an autolink, a mention or a reference to an issue would begin; a zero-width space keeps it from doing so.
_TRIGGER = re.compile(r"(@|#|:(?=//)|\bwww(?=\.)|\bGH(?=-)|\bmailto(?=:)|\bxmpp(?=:))", re.IGNORECASE)


def _place(place: str, said: str) -> str:
    """`train_gpt.py:812` and what stands there, as an item of a list."""
    return f"- {code(place, 240)}" + (f" {code(said)}" if said else "")


def escape(text: object, limit: int = 1200) -> str:
    """A sentence from a stranger as Markdown that shows just that sentence."""
    marked = _TRIGGER.sub("\\1\u200b", prose(text, limit))
    return _AT_START.sub(r"\1\\\2", _ANYWHERE.sub(r"\\\1", marked))


def code(text: object, limit: int = 200, *, cell: bool = False) -> str:
    """A name or a command from a stranger as a code span; `cell` where it stands in a table."""
    shown = clean(text, limit)
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * (longest + 1)
    # A span that begins or ends with a backtick needs a blank there; a span of blanks alone would vanish.
    pad = " " if shown.startswith("`") or shown.endswith("`") or not shown.strip() else ""
    # In a table's cell a bar splits even a code span, and an escape of it is undone by a backslash before it.
    body = shown.replace("|", "¦") if cell else shown
    return f"{fence}{pad}{body or '(empty)'}{pad}{fence}"


def render(record: Record) -> str:
    """The Markdown of a record: answers, score, findings worst first, and what stands behind each that failed.

    Returns:
        Text of at most 1,048,576 bytes in UTF-8.
    """
    text = ""
    for rows, sections in _BUDGETS:
        text = _render(record, rows, sections)
        if len(text.encode()) <= MAX_BYTES:
            return text
    return text.encode()[:MAX_BYTES].decode(errors="ignore")


def _render(record: Record, rows: int, sections: int) -> str:
    words, look = view.title(record)
    findings = view.worst_first(record)
    blocks = [
        f"## {_SYMBOLS[look.tone]} {words}: {escape(brief(record.submission.name, 120))}",
        _answers(record),
        view.outcome_sentence(record),
        *(f"⚠️ {escape(doubt)}" for doubt in view.doubts(record)),
        *(f"⚖️ {escape(ruling, 1500)}" for ruling in view.rulings(record)),
        _facts(record),
        _table(findings[:rows], len(findings)),
    ]
    open_ones = [finding for finding in findings if finding.status not in (Status.PASS, Status.NOT_APPLICABLE)]
    blocks += [_section(record, finding) for finding in open_ones[:sections]]
    if len(open_ones) > sections:
        blocks.append(f"{len(open_ones) - sections:,} more findings have their evidence in record.json.")
    blocks.append("### Reproduce\n\n" + code(view.command(record), 1000))
    blocks.append(
        f"Record digest {code(record.digest, 80)}. Every finding's evidence is in record.json and report.html."
    )
    return "\n\n".join(block for block in blocks if block) + "\n"


def _answers(record: Record) -> str:
    lines = ["| question | answer | |", "|---|---|---|"]
    for reply in view.replies(record):
        said = escape(brief(reply.sentence, 600))
        lines.append(f"| {reply.question} | {_SYMBOLS[reply.tone]} {reply.word} | {said} |")
    return "\n".join(lines)


def _facts(record: Record) -> str:
    score = f"**{bpb(record.score.val_bpb)} BPB**" if record.score else "**no score**"
    others = [f"{escape(one.name)} {bpb(one.bpb)}" for one in view.yardsticks(record) if one.role != "measured"]
    interval = view.honest_interval(record)
    facts = [
        score + (f" ({', '.join(others)})" if others else ""),
        f"honest estimate between {bpb(interval[0])} and {bpb(interval[1])}, 95 %" if interval else "",
        f"track {record.submission.track}" if record.submission.track else "no track stated",
        f"ruleset {code(record.ruleset.name, 60)}, {code(record.scale, 40)} scale",
        *([f"{record.audit.depth} audit {code(str(record.audit.seed), 40)}"] if record.audit else []),
        f"run on {view.run_date(record)}" if view.run_date(record) else "",
    ]
    if counted := view.counted(record):
        sealed = f"artifact {number(record.artifact.bytes)} bytes, " if record.artifact else "bytes "
        facts.append(sealed + escape(counted))
    return "\n".join(f"- {fact}" for fact in facts if fact)


def _table(findings: Sequence[Finding], total: int) -> str:
    lines = ["| check | status | finding |", "|---|---|---|"]
    for finding in findings:
        look = view.LOOKS[finding.status]
        name, said = code(brief(finding.id, 60), cell=True), escape(brief(prose(finding.headline), 300))
        lines.append(f"| {name} | {_SYMBOLS[look.tone]} {look.word} | {said} |")
    more = f"\n\nand {total - len(findings):,} more in record.json" if total > len(findings) else ""
    return "\n".join(lines) + more


def _section(record: Record, finding: Finding) -> str:
    look = view.LOOKS[finding.status]
    lines = [f"### {_SYMBOLS[look.tone]} {code(brief(finding.id, 60))}", escape(finding.headline)]
    if witness := finding.witness:
        lines.append("Witness: " + escape(witness.summary))
        shown, more = listed(finding)
        if shown:
            lines.append("\n".join(_place(*one) for one in shown))
        if more:
            lines.append(f"and {more} more in record.json")
        if "old_text" in witness.data or "new_text" in witness.data:
            old, new = (code(brief(witness.data.get(name, ""), 60)) for name in ("old_text", "new_text"))
            before = code(str(witness.data.get("context_before", ""))[-80:], 80)
            lines.append(f"After {before}, {old} became {new}.")
        if command := view.replay(record, finding):
            lines.append(f"Replay it, in {view.replay_in(record)}: " + code(command, len(command)))
    if finding.not_covered:
        lines.append("\n".join(["Not covered:", "", *(f"- {escape(item, 300)}" for item in finding.not_covered[:6])]))
    if finding.remedy:
        lines.append("What to do: " + escape(finding.remedy))
    return "\n\n".join(lines)

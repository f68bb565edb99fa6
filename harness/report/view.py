"""What every view says about a record: the verdict in a sentence, the findings in order, the score's yardsticks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from harness.record import SEVERITY, Finding, Record, Status, exit_code_of, verdict_of
from harness.report.text import clean, finite, label, number, prose

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(T|$)")


@dataclass(frozen=True)
class Look:
    """How a status is shown: by word, by icon and by colour, never by colour alone.

    Attributes:
        word: the status in words.
        tone: colour class, one of "bad", "open", "good", "mute".
        meaning: what the status says about the whole record when it is the verdict.
    """

    word: str
    tone: str
    meaning: str


LOOKS: dict[Status, Look] = {
    Status.FAIL: Look("FAIL", "bad", "A rule is broken. The evidence below can be replayed."),
    Status.ERROR: Look(
        "ERROR", "bad", "The harness or its environment failed; this says nothing about the submission."
    ),
    Status.INCONCLUSIVE: Look("INCONCLUSIVE", "open", "The evidence does not decide. This is not a pass."),
    Status.NOT_RUN: Look("NOT RUN", "open", "A check did not run. This is not a pass."),
    Status.UNRULED: Look("UNRULED", "open", "The evidence is clear, the rule is not: no official ruling covers it."),
    Status.PASS: Look("PASS", "good", "Every check that applies ran to its end and found nothing."),
    Status.NOT_APPLICABLE: Look("NOT APPLICABLE", "mute", "No check applied. This is not a pass."),
}


@dataclass(frozen=True)
class Yardstick:
    """One score to compare, in bits per byte; `role` is "measured", "honest", "claim" or "reference"."""

    name: str
    bpb: float
    role: str


def worst_first(record: Record) -> list[Finding]:
    """The findings by severity; findings of one status keep their order."""
    return sorted(record.findings, key=lambda finding: SEVERITY.index(finding.status))


def verdict_sentence(record: Record) -> str:
    """The reason for the verdict, without the verdict's own word: "causality — row 812 changes ... (and 2 more)"."""
    same = [finding for finding in record.findings if finding.status == record.verdict]
    if record.verdict == Status.PASS:
        skipped = sum(finding.status == Status.NOT_APPLICABLE for finding in record.findings)
        rest = f"; {skipped} did not apply" if skipped else ""
        return f"{len(same)} {_plural(len(same), 'check')} ran and found nothing{rest}"
    if not same:
        return "no finding carries this verdict" if record.findings else "no check left a finding"
    more = f" (and {len(same) - 1} more)" if len(same) > 1 else ""
    return f"{prose(same[0].id, 80)} — {prose(same[0].headline, 400)}{more}"


def tally(record: Record) -> list[tuple[Status, int]]:
    """How many findings have each status, worst first, leaving out statuses that nothing has."""
    counts = ((status, sum(finding.status == status for finding in record.findings)) for status in SEVERITY)
    return [(status, count) for status, count in counts if count]


def key_number(finding: Finding) -> tuple[str, str] | None:
    """The first number among the metrics that is not a limit, as (name, number), or None."""
    for name, value in finding.metrics.items():
        if name.startswith("limit"):
            continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            return label(name), number(value)
    return None


def claimed_bpb(record: Record) -> float | None:
    """The BPB that the submission claims for itself, if it claims a number."""
    return finite(record.submission.claims.get("val_bpb"))


def honest_bpb(record: Record) -> float | None:
    """The estimated BPB without the leak, if a check could price it."""
    estimate = (record.score.honest_bpb if record.score else None) or {}
    for name in ("val_bpb", "bpb", "honest_bpb", "estimate", "value", "mean"):
        if (value := finite(estimate.get(name))) is not None:
            return value
    return None


def honest_interval(record: Record) -> tuple[float, float] | None:
    """The 95 % interval of the honest BPB, if the record holds one."""
    estimate = (record.score.honest_bpb if record.score else None) or {}
    low, high = finite(estimate.get("low")), finite(estimate.get("high"))
    return None if low is None or high is None else (low, high)


def run_date(record: Record) -> str | None:
    """The day of the run as YYYY-MM-DD, if the record says when it was made."""
    started = record.timing.get("started")
    return started[:10] if isinstance(started, str) and _DATE.match(started) else None


def command(record: Record) -> str:
    """The command that makes such a record, for a shell; text from the record is quoted."""
    script = record.submission.kind == "script"
    words = ["lint" if record.submission.kind == "evidence" else "audit" if script else "run"]
    words.append(clean(record.submission.path, 200))
    overrides = record.submission.settings.get("overrides")
    for name, value in overrides.items() if isinstance(overrides, Mapping) else ():
        words += ["--env", clean(f"{name}={value}", 200)]
    if record.submission.kind == "adapter":
        words += [
            "--scale",
            clean(record.scale, 40),
            "--data",
            clean(record.environment.get("data_spec", "stdlib"), 200),
        ]
        for seed in record.seeds[:10]:
            words += ["--seed", str(seed)]
    words += ["--ruleset", clean(record.ruleset.name, 60)]
    return "harness " + " ".join(shlex.quote(word) for word in words)


def yardsticks(record: Record) -> list[Yardstick]:
    """Every BPB that the record knows about, in reading order."""
    reference = record.data.reference_bpb
    known = (
        Yardstick("measured", record.score.val_bpb, "measured") if record.score else None,
        _yardstick("honest estimate", honest_bpb(record), "honest"),
        _yardstick("claimed", claimed_bpb(record), "claim"),
        _yardstick("unigram model", reference.unigram, "reference"),
        _yardstick("xz", reference.xz, "reference"),
    )
    return [yardstick for yardstick in known if yardstick]


def total_bytes(record: Record) -> tuple[int, int] | None:
    """Artifact and code together, by the most lenient and by the strictest counting convention."""
    if not record.artifact:
        return None
    totals = record.artifact.total.values() or [record.artifact.bytes]
    return min(totals), max(totals)


def doubts(record: Record) -> list[str]:
    """Reasons not to trust the file itself: it was edited by hand, or cut off while it was written."""
    found = []
    try:
        intact = record.digest == record.computed_digest()
    except ValueError:
        intact = False
    if not record.digest:
        found.append("This record was never sealed: it carries no digest.")
    elif not intact:
        found.append("The digest in this record does not match its content: it was changed after it was written.")
    if record.verdict != verdict_of(record.findings):
        found.append(f"The findings add up to {verdict_of(record.findings).value}, not to {record.verdict.value}.")
    elif record.exit_code not in {exit_code_of(record.verdict, strict=strict) for strict in (False, True)}:
        found.append(f"The exit code of {record.verdict.value} is not {record.exit_code}.")
    return found


def _yardstick(name: str, value: float | None, role: str) -> Yardstick | None:
    return None if value is None else Yardstick(name, value, role)


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"

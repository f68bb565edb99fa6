"""Is the evaluation that was run the one that was submitted?

A switch that no log, command, README or `--env` states has its default. Where that is off, the switch guards code that
the counted pass comes through or would, and the folder speaks of what it guards, the audit is made twice: with the
default, and with the switch turned. What speaks are words (a title; a sentence with a number beside the technique's
name), a setting of the technique that a log shows, a line in a log that only guarded code prints, and an evaluation
that took many times as long as the sliding pass beside it. A sentence that denies the technique, NAME=VALUE with the
default's value, and logs without the lines that guarded code prints answer the question. `--env NAME=VALUE` always
does.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.record import Finding, Status, Value
from harness.scripts.checks.evidence import OtherWorld, ScriptEvidence, found, texts
from harness.scripts.settings.unstated import Unstated

CHECK = "settings"
NOT_COVERED = [
    "switches that are on by default, numbers that are not 0, and settings that nothing in the folder speaks of",
    "combinations of switches: all that are spoken for are turned together",
]
_OPEN = (Status.ERROR, Status.INCONCLUSIVE, Status.NOT_RUN)


def check(evidence: ScriptEvidence) -> Finding | None:
    """PASS where no switch is a question, or both worlds are clean; else INCONCLUSIVE, with what each of them shows."""
    if evidence.unstated is None:
        why = "nothing stands beside the script that could speak of its settings"
        return found(evidence, CHECK, Status.NOT_APPLICABLE, why, not_covered=NOT_COVERED)
    if not evidence.unstated:
        headline = "every switch that the folder speaks of is stated, or its default is what the folder says"
        return found(evidence, CHECK, Status.PASS, headline, not_covered=NOT_COVERED)
    metrics: dict[str, Value] = {
        "spoken_for": texts(f"{one.told}; {quoted}" for one in evidence.unstated for quoted in one.evidence)
    }
    if evidence.other is not None:
        metrics["with_default"] = _told(evidence.other.here)
        metrics["with_other"] = _told(evidence.other.findings) or texts([str(evidence.other.error)])
    status, concluded = _concluded(evidence.unstated, evidence.other)
    headline = f"{_asked(evidence.unstated)}: {concluded}"
    return found(evidence, CHECK, status, headline, metrics=metrics, not_covered=NOT_COVERED)


def _concluded(unstated: Sequence[Unstated], other: OtherWorld | None) -> tuple[Status, str]:
    """What both worlds come to."""
    now = ", ".join(f"{one.name}={one.default if one.default is not None else ''}" for one in unstated)
    then = " ".join(f"{one.name}={one.other}" for one in unstated)
    decides = "--env decides (" + " ".join(f"--env {one.name}=VALUE" for one in unstated) + ")"
    if other is None:
        return Status.NOT_RUN, f"a rule is broken with {now} already, so that {then} was not tried"
    if other.error is not None:
        return Status.INCONCLUSIVE, f"with {then} nothing could be judged ({other.error}); {decides}"
    if other.unclaimed is not None:
        return Status.PASS, f"with {then} the claimed line is not printed, so that the logs are not of it"
    failed = [one for one in other.findings if one.status == Status.FAIL]
    if failed:
        names = ", ".join(one.id for one in failed)
        said = f"with {now} no rule is found broken, with {then} {names} FAIL: {failed[0].headline}"
        return Status.INCONCLUSIVE, f"{said}; {decides}"
    here = {one.id: one.status for one in other.here}
    opened = [one for one in other.findings if one.status in _OPEN and here.get(one.id) not in _OPEN]
    if opened:
        names = ", ".join(one.id for one in opened)
        return Status.INCONCLUSIVE, f"with {then} {names} could not be decided: {opened[0].headline}; {decides}"
    unruled = [one for one in other.findings if one.status == Status.UNRULED]
    if unruled and Status.UNRULED not in here.values():
        return Status.UNRULED, f"with {then} no ruling covers what {unruled[0].id} found: {unruled[0].headline}"
    return Status.PASS, f"no rule is found broken with {now}, nor with {then}"


def _asked(unstated: Sequence[Unstated]) -> str:
    first, more = unstated[0], len(unstated) - 1
    others = f" (and {more} more such switch{'es' if more > 1 else ''})" if more else ""
    return (
        f"nobody states {first.name}, off by default at {first.read_at}; it guards {first.guards} `{first.test}`, and"
        f" {first.evidence[0]} speaks for it{others}"
    )


def _told(findings: Sequence[Finding]) -> Value:
    return texts(f"{one.id} {one.status.value}: {one.headline}"[:400] for one in findings)

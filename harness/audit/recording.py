"""The one builder of records: what was judged, by whom, by which rules, and what the findings come to.

Collectors say what they have (a submission, findings, and what was scored, where something was). What is the same for
all of them is decided here, once: verdict, answers and exit code, which harness and which rules judged, the machine
that a run was made on, and the digest over all of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import __version__
from harness.environment import describe_host, harness_info, started
from harness.record import (
    ALLOWED,
    ArtifactInfo,
    AuditInfo,
    DataInfo,
    Finding,
    HarnessInfo,
    Record,
    RulesetInfo,
    Score,
    SubmissionInfo,
)
from harness.rules import Ruleset
from harness.sandbox.outcome import Level
from harness.verdict import decide


@dataclass(frozen=True)
class Terms:
    """By which terms findings are weighed.

    Attributes:
        ruleset: the rules that judged.
        strict: UNRULED counts as a violation in the exit code.
        fail_on_incomplete: papers that say too little are exit code 3.
    """

    ruleset: Ruleset
    strict: bool = False
    fail_on_incomplete: bool = False


@dataclass(frozen=True)
class Ran:
    """What a run leaves that is not about the submission, but about the machine and the hour.

    Attributes:
        level: the sandbox that was in force.
        seconds: wall time of the whole audit.
        peak_bytes: resident memory at its peak, by box.
        allowed: seconds and memory that a box had; a replay gives it the same.
        facts: more on how it was run, beside `describe_host`.
        clocks: seconds of training and evaluation, by convention.
        timing: more of what took how long.
    """

    level: Level
    seconds: float
    peak_bytes: Mapping[str, int]
    allowed: Mapping[str, float | int | None] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    clocks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    timing: Mapping[str, object] = field(default_factory=dict)


def build(
    submission: SubmissionInfo,
    findings: Sequence[Finding],
    terms: Terms,
    data: DataInfo,
    *,
    scale: str,
    seeds: Sequence[int],
    ran: Ran | None = None,
    score: Score | None = None,
    artifact: ArtifactInfo | None = None,
    audit: AuditInfo | None = None,
) -> Record:
    """Decide what the findings come to, and seal it with its digest.

    Args:
        submission: what was judged; the verdict depends on its kind.
        findings: of all checks that were asked for.
        terms: by which they are weighed.
        data: the text that was scored, or what is known of it.
        scale: "smoke", "record", "tiny" ...
        seeds: of training, or of an audit's streams.
        ran: how it was run; None for a folder that was only read. Its record names the version of the harness alone,
            so that it is the same wherever the folder is read.
        score: what was measured, where something was.
        artifact: what was sealed, where something was.
        audit: how the audit was drawn, where it was.
    """
    decision = decide(findings, submission.kind)
    rules = terms.ruleset
    return Record(
        verdict=decision.verdict,
        exit_code=decision.exit_code(strict=terms.strict, fail_on_incomplete=terms.fail_on_incomplete),
        answers=decision.answers,
        harness=harness_info() if ran else HarnessInfo(version=__version__),
        ruleset=RulesetInfo.of(rules),
        submission=submission,
        scale=scale,
        seeds=list(seeds),
        data=data,
        score=score,
        artifact=artifact,
        audit=audit,
        findings=list(findings),
        clocks={name: _rounded(clock) for name, clock in ran.clocks.items()} if ran else {},
        environment={} if ran is None else _environment(ran),
        timing={} if ran is None else _timing(ran),
    ).sealed()


def shown(path: Path) -> str:
    """A path as a record may show it: relative to the working folder, or its last component."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.name


def _environment(ran: Ran) -> dict[str, object]:
    return {
        **describe_host(),
        "sandbox": dataclasses.asdict(ran.level),
        ALLOWED: dict(ran.allowed),
        "peak_memory_bytes": dict(ran.peak_bytes),
        **ran.facts,
    }


def _timing(ran: Ran) -> dict[str, object]:
    return {"started": started(ran.seconds), "seconds": round(ran.seconds, 3), **ran.timing}


def _rounded(clock: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(seconds), 3) for name, seconds in clock.items()}

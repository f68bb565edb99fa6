"""What a gate says, as plain data: gate.json. Other programs read it, among them one that must not trust it.

Texts that came from a submission are cleaned before they get here and escaped again by every view. Times stay out, so
that the same pull request gives the same bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.record import Number, RulesetInfo, Status
from harness.verdict import Question, Word

SCHEMA: Literal["harness.gate/3"] = "harness.gate/3"
MAX_SUBMISSIONS = 64
#: Lines of a submission that are quoted for one finding.
MAX_PLACES = 3

#: How far a gate goes: what the folders claim; then one evaluation; then the whole audit.
Tier = Literal["papers", "quick", "full"]
#: What is held against a pull request: what is violated; what is undecided too; papers that say too little too; a
#: practice that no ruling covers too.
FailOn = Literal["fail", "inconclusive", "incomplete", "unruled"]
Conclusion = Literal["success", "failure", "neutral"]
#: A record's statuses, and BROKEN: the submission cannot be judged for a reason that is its own.
Verdict = Literal["FAIL", "ERROR", "BROKEN", "INCONCLUSIVE", "NOT_RUN", "UNRULED", "PASS", "NOT_APPLICABLE"]

Short = Annotated[str, Field(max_length=300)]
Long = Annotated[str, Field(max_length=1200)]
Commit = Annotated[str, Field(pattern="^[0-9a-f]{40}([0-9a-f]{24})?$")]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null", json_schema_serialization_defaults_required=True)


class Place(_Model):
    """A line of the submission that a witness names: file, number from 1 on, and what stands there, if known."""

    file: Short
    line: int = Field(ge=1, le=10_000_000)
    text: Short = ""


class Said(_Model):
    """A finding in short: id, status and headline of the record's, and the lines that its witness names."""

    id: Short
    status: Status
    headline: Long
    places: list[Place] = Field(default_factory=list, max_length=MAX_PLACES)


class Reply(_Model):
    """The answer to one of the verdict's three questions, as in the record."""

    question: Question
    answer: Word
    sentence: Long


class Stage(_Model):
    """One stage of one submission.

    Attributes:
        name: "papers", "static", "smoke" or "full", in this order.
        verdict: what it came to; NOT_RUN where an earlier one ended the matter, or the tier does not have it.
        headline: the decisive finding, or why it did not run.
        source: made by this run, taken from its own interrupted beginning, or from a cache.
        record: path of the record, relative to gate.json; None where there is none.
        sha256: of that file.
        findings: of the record, worst first, those that are not PASS or NOT_APPLICABLE; of an adapter's papers only
            FAIL and UNRULED, because adapters need no logs.
    """

    name: Literal["papers", "static", "smoke", "full"]
    verdict: Verdict
    headline: Long
    source: Literal["run", "resumed", "cache"] = "run"
    record: Short | None = None
    sha256: Digest | None = None
    findings: list[Said] = Field(default_factory=list, max_length=40)


class Judged(_Model):
    """One submission that the pull request adds, changes or renames.

    Attributes:
        path: of its folder in the repository.
        folder: of its results, relative to gate.json.
        kind: None where it could not be opened.
        how: added, changed or renamed (from `before`).
        sha256: over the folder's files as they are in the head.
        part: which part of a gate of several jobs has judged it, "papers" or the name of a shard; empty for one job.
        verdict: None while it is being judged; NOT_RUN where its papers were all that was asked for.
        answers: to the three questions; empty where it was not judged to the end.
        headline: what decided.
        val_bpb: as the referee measured it, at the scale that was played.
        stages: in order.
    """

    path: Short
    folder: Short
    kind: Literal["adapter", "script"] | None = None
    how: Literal["added", "changed", "renamed"]
    before: Short | None = None
    sha256: Digest | None = None
    part: Short = ""
    verdict: Verdict | None = None
    answers: list[Reply] = Field(default_factory=list, max_length=3)
    headline: Long = ""
    val_bpb: Number | None = None
    stages: list[Stage] = Field(default_factory=list, max_length=4)


class Flag(_Model):
    """Something about the pull request itself; `blocks` ones make the gate fail."""

    id: Literal["judge-changed", "judge-and-submissions", "removed", "elsewhere", "other-harness"]
    blocks: bool
    text: Long


class Revisions(_Model):
    """Commits: the base that was named, the head, and the commit at which they departed."""

    base: Commit
    head: Commit
    merge_base: Commit


class Harness(_Model):
    """The harness that judged; `other_than_base` is None where the base commit holds no harness."""

    version: Short
    commit: Commit | None = None
    dirty: bool | None = None
    sha256: Digest
    other_than_base: bool | None = None


class GateResult(_Model):
    """The whole result.

    Attributes:
        complete: False while the gate runs, and for ever if it was stopped.
        unfinished: why it did not come to its end, as far as it can say so itself; empty where it did.
        verdict: the worst of the submissions'; None if there is none to judge.
        exit_code: what the command returns.
        conclusion: for a check: failure where the exit code is not 0; neutral where nothing is held against the pull
            request and something is not decided.
        reason: of that conclusion, in a sentence.
        not_run: checks that the tier leaves out; a clean quick tier says nothing about them.
    """

    schema_: Literal["harness.gate/3"] = Field(default=SCHEMA, alias="schema")
    complete: bool = False
    unfinished: Long = ""
    verdict: Verdict | None = None
    exit_code: int = Field(default=0, ge=0, le=255)
    conclusion: Conclusion = "neutral"
    reason: Long = ""
    tier: Tier
    fail_on: FailOn
    not_run: list[Short] = Field(default_factory=list, max_length=40)
    revisions: Revisions
    harness: Harness
    ruleset: RulesetInfo
    flags: list[Flag] = Field(default_factory=list, max_length=8)
    submissions: list[Judged] = Field(default_factory=list, max_length=MAX_SUBMISSIONS)

    model_config = ConfigDict(populate_by_name=True)  # the rest is inherited


#: Worst first, as in a record; what is broken stands between what the harness and what the evidence failed to do.
SEVERITY: tuple[Verdict, ...] = (
    "FAIL", "ERROR", "BROKEN", "INCONCLUSIVE", "NOT_RUN", "UNRULED", "PASS", "NOT_APPLICABLE",
)  # fmt: skip


#: Nothing is shown, and nobody accused.
OPEN: tuple[Verdict, ...] = ("INCONCLUSIVE", "NOT_RUN", "NOT_APPLICABLE")


def worst(verdicts: list[Verdict]) -> Verdict | None:
    """The first of `SEVERITY` that is among the verdicts; None if there are none."""
    return next((one for one in SEVERITY if one in verdicts), None)


def exit_code_of(result: GateResult) -> int:
    """0 clean, 1 a violation, 4 the harness failed, 2 a submission is broken, 3 undecided; in this order.

    `fail_on` is the mildest outcome that is held against a pull request: "fail" lets INCONCLUSIVE pass, "inconclusive"
    does not, "incomplete" not even papers that say too little, "unruled" neither these nor UNRULED. ERROR and BROKEN
    always count: nothing was shown. So does a gate that has not come to its end: it is undecided at best.
    """
    codes = {_code(one, result.fail_on) for one in result.submissions}
    if any(flag.blocks for flag in result.flags):
        codes.add(1)
    if not result.complete:
        codes.add(3)
    return next((code for code in (1, 4, 2, 3) if code in codes), 0)


def conclusion_of(result: GateResult) -> tuple[Conclusion, str]:
    """The outcome for a check, and its reason: what is undecided and not held against anybody is neutral."""
    flag = next((flag for flag in result.flags if flag.blocks), None)
    if exit_code_of(result) != 0:
        held = next((one for one in _weightiest(result) if _code(one, result.fail_on)), None)
        if flag is not None and (held is None or _code(held, result.fail_on) != 1):
            return "failure", flag.text
        if held is None or held.verdict is None:
            return "failure", result.unfinished or "the gate did not come to its end"
        return "failure", held.headline
    open_one = next((one for one in _weightiest(result) if one.verdict in OPEN), None)
    if open_one is not None:
        return "neutral", open_one.headline
    if not result.submissions:
        return "success", "no folder that the gate judges is changed"
    gap = next((reply for one in _weightiest(result) if incomplete(one) for reply in gaps(one)), None)
    if gap is not None:
        return "neutral", f"{gap.question} {gap.answer}: {gap.sentence}"[:1200]
    return "success", "no rule is found violated"


def incomplete(one: Judged) -> bool:
    """Whether the papers say too little: of the claim, or of a script's bytes and seconds."""
    return bool(gaps(one))


def gaps(one: Judged) -> list[Reply]:
    """The answers that papers leave open."""
    return [
        reply
        for reply in one.answers
        if reply.answer == "INCOMPLETE"
        or (one.kind == "script" and reply.question == "limits" and reply.answer == "UNDECIDED")
    ]


def _weightiest(result: GateResult) -> list[Judged]:
    return sorted(result.submissions, key=lambda one: SEVERITY.index(one.verdict or "NOT_RUN"))


def _code(one: Judged, fail_on: FailOn) -> int:
    verdict = one.verdict
    if verdict in ("FAIL", "ERROR", "BROKEN"):
        return {"FAIL": 1, "ERROR": 4, "BROKEN": 2}[verdict]
    if verdict == "UNRULED" and fail_on == "unruled":
        return 1
    if verdict in ("PASS", "UNRULED"):
        return 3 if fail_on in ("incomplete", "unruled") and incomplete(one) else 0
    if fail_on == "fail" and verdict is not None:
        return 0
    return 3


def json_schema() -> dict[str, Any]:
    """The JSON schema of gate.json, as published in `harness/gate/gate.schema.json`."""
    return GateResult.model_json_schema(by_alias=True, mode="serialization")

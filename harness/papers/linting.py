"""`harness lint`: from a folder to findings and a record, and several folders against each other."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.audit import check, recording
from harness.audit.check import Provider
from harness.audit.recording import Terms
from harness.papers import byte_accounting, claims, clocks, copies, data_split, significance, size_limit
from harness.papers.collect import Case, open_case, reasoned, same_code
from harness.papers.metadata import Claims
from harness.papers.near import Neighbours
from harness.papers.reasons import Reason
from harness.record import DataInfo, Finding, Record, Status, SubmissionInfo
from harness.rules import Ruleset
from harness.verdict import Decision, decide, in_papers

_NOTHING = hashlib.sha256(b"").hexdigest()
#: The checks of a folder's papers by id, in the order in which a report should be read.
CHECKS: dict[str, Provider[Case]] = {
    "claims": Provider(claims.check),
    "byte-accounting": Provider(byte_accounting.check),
    "size-limit": Provider(size_limit.check),
    "train-clock": Provider(clocks.check_train),
    "eval-clock": Provider(clocks.check_eval),
    "data-split": Provider(data_split.check),
    "significance": Provider(significance.check),
    "copies": Provider(copies.check),
}


@dataclass(frozen=True)
class Linted:
    """What a folder claims, and what its papers show of it.

    Attributes:
        claims: submission.json in one schema.
        findings: one for each check, in the order of `CHECKS`.
        facts: what was read, as plain data: runs, headline, code.
        case: everything that was read.
    """

    path: Path
    claims: Claims
    findings: list[Finding]
    facts: dict[str, Any]
    case: Case

    @property
    def decision(self) -> Decision:
        """What the findings come to where nothing else is known of the submission."""
        return decide(self.findings, "evidence")

    @property
    def verdict(self) -> Status:
        """The answers in one word."""
        return self.decision.verdict


def lint(
    folder: Path,
    ruleset: Ruleset,
    *,
    copies: Mapping[str, str] | None = None,
    previous: tuple[str, Sequence[float]] | None = None,
) -> Linted:
    """Read a folder and judge what it says of itself. Nothing of it is run, imported or unpacked.

    Args:
        folder: a submission's folder.
        ruleset: the rules to judge by.
        copies: names of other folders with the same code, and what is the same.
        previous: name and BPB by seed of the record that this one would have to beat.

    Raises:
        UsageError: there is no such folder, or it is empty.
    """
    case = open_case(folder, ruleset)
    return judge(dataclasses.replace(case, copies=dict(copies or {}), previous=previous))


def judge(case: Case) -> Linted:
    """All checks on what was read. One that breaks is an ERROR, and the others go on."""
    findings = [_of_papers(found, case) for found in check.judge(case, list(CHECKS), CHECKS)]
    return Linted(case.papers.path, case.claims, findings, facts_of(case), case)


def lint_all(
    folders: Sequence[Path],
    ruleset: Ruleset,
    *,
    previous: tuple[str, Sequence[float]] | None = None,
    against: Callable[[Case], Neighbours] | None = None,
) -> list[Linted]:
    """Several folders, and which of them have the same code.

    Args:
        folders: the folders.
        ruleset: the rules to judge by.
        previous: name and BPB by seed of the record that each would have to beat.
        against: holds a folder against a backlog; None where there is none.

    Raises:
        UsageError: there is no such folder, or it is empty.
    """
    cases = [open_case(folder, ruleset) for folder in folders]
    same = same_code(cases)
    return [
        judge(dataclasses.replace(case, copies=of_case, previous=previous, neighbours=against and against(case)))
        for case, of_case in zip(cases, same, strict=True)
    ]


def record_of(linted: Linted, ruleset: Ruleset, *, strict: bool = False, fail_on_incomplete: bool = False) -> Record:
    """The record, of kind "evidence": the schema of a run's, with nothing measured in it.

    Its score is None and its data section says that nothing was opened: all numbers are claims.
    """
    claimed, case = linted.claims, linted.case
    tokens = [int(run.val_tokens.value) for run in case.headline.runs if run.val_tokens]
    seeds = {int(run.seed.value) for run in case.headline.runs if run.seed}
    vocab = next((int(v) for run in case.runs if (v := run.settings.get("vocab_size", "")).isdigit()), 0)
    return recording.build(
        SubmissionInfo(
            name=claimed.name or linted.path.resolve().name,
            path=linted.path.name,
            kind="evidence",
            author=claimed.author or None,
            github_id=claimed.github_id or None,
            sha256=case.papers.sha256,
            claims=claimed.model_dump(mode="json", exclude_none=True),
            settings=linted.facts,
        ),
        linted.findings,
        Terms(ruleset.judging(claimed.date, linted.path.resolve().name), strict, fail_on_incomplete),
        DataInfo(
            name="not opened; token counts are those of the logs",
            sha256=_NOTHING,
            vocab_size=vocab,
            tokenizer_sha256=_NOTHING,
            tokens=max(tokens, default=0),
            scored_tokens=0,
            train_tokens=0,
        ),
        scale="record" if case.record else "non-record",
        seeds=sorted(seeds),
    )


def facts_of(case: Case) -> dict[str, Any]:
    """What was read, as plain data for a record."""
    runs = [
        {
            "file": run.file,
            "seed": run.seed and int(run.seed.value),
            "val_tokens": run.val_tokens and int(run.val_tokens.value),
            "train_shards": run.train_shards and int(run.train_shards.value),
            "train_ms": run.train_ms and run.train_ms.value,
            "total_bytes": run.total and int(run.total.bytes.value),
            "scores": {one.label: one.bpb.value for one in run.results[-8:]},
        }
        for run in case.runs[:40]
    ]
    return {
        "record": case.record,
        "headline": {
            "how": case.headline.how,
            "mean": case.headline.mean,
            "lines": [str(one.metric.bpb.quote) for one in case.headline.carried[:10]],
        },
        "runs": runs,
        "code": {
            "script": case.code.script and case.code.script.name,
            "shipped": case.code.shipped,
            "all_files": case.code.all_files,
            "packed": case.code.packed,
        },
        "settings": case.headline.runs[0].settings if case.headline.runs else {},
    }


def _draft(case: Case) -> bool:
    """A submission.json that can be read and claims no score, in a folder in which no log has one: work in progress."""
    claims = case.claims
    claimed = claims.val_bpb or any(one.val_bpb for one in claims.per_seed)
    return claims.file is not None and claims.problem is None and not claimed and case.headline.how == "none"


def _of_papers(found: Finding, case: Case) -> Finding:
    """The question that a finding from papers belongs to: what they do not show is missing evidence of the claim.

    Of a claim that is not made nothing is missing.
    """
    if _draft(case) and found.status in (Status.INCONCLUSIVE, Status.NOT_RUN):
        said = "nothing is claimed" if found.id == "claims" else f"nothing is claimed; {found.headline}"
        return reasoned(found, Reason.NO_SCORE_CLAIMED).model_copy(
            update={"status": Status.NOT_APPLICABLE, "headline": said, "remedy": None}
        )
    return found.model_copy(update={"question": in_papers(found.question, found.status)})

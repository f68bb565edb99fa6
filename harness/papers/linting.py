"""`harness lint`: from a folder to findings, and several folders against each other."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.audit import check
from harness.audit.check import Provider
from harness.papers import clocks, consistency, data, headline, metric, records, sizes
from harness.papers.case import Case
from harness.papers.code import read_code
from harness.papers.logs import read_logs
from harness.papers.metadata import Claims, read_claims
from harness.papers.reading import read
from harness.record import Finding, Status
from harness.rules import Ruleset
from harness.verdict import Decision, decide, in_papers

#: The checks of a folder's papers by id, in the order in which a report should be read.
CHECKS: dict[str, Provider[Case]] = {
    "claims": Provider(consistency.check),
    "byte-accounting": Provider(metric.check),
    "size-limit": Provider(sizes.check),
    "train-clock": Provider(clocks.check_train),
    "eval-clock": Provider(clocks.check_eval),
    "data-split": Provider(data.check),
    "significance": Provider(records.check),
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


def open_case(folder: Path, ruleset: Ruleset) -> Case:
    """Read a folder.

    Raises:
        UsageError: there is no such folder, or it is empty.
    """
    papers = read(folder)
    claims = read_claims(papers)
    runs = read_logs(papers.logs)
    found = headline.find(claims, runs)
    return Case(papers, claims, runs, found, read_code(papers), ruleset, _claims_record(folder, claims))


def judge(case: Case) -> Linted:
    """All checks on what was read. One that breaks is an ERROR, and the others go on."""
    findings = [_of_papers(found) for found in check.judge(case, list(CHECKS), CHECKS)]
    return Linted(case.papers.path, case.claims, findings, facts_of(case), case)


def lint_all(
    folders: Sequence[Path], ruleset: Ruleset, *, previous: tuple[str, Sequence[float]] | None = None
) -> list[Linted]:
    """Several folders, and which of them have the same code.

    Raises:
        UsageError: there is no such folder, or it is empty.
    """
    cases = [open_case(folder, ruleset) for folder in folders]
    copies = same_code(cases)
    return [
        judge(dataclasses.replace(case, copies=of_case, previous=previous))
        for case, of_case in zip(cases, copies, strict=True)
    ]


def same_code(cases: Sequence[Case]) -> list[dict[str, str]]:
    """For each case the others with the same script: "byte for byte", or "but for comments and layout"."""
    found = []
    for case in cases:
        others: dict[str, str] = {}
        for other in cases:
            if other is case or not case.code.sha256:
                continue
            if other.code.sha256 == case.code.sha256:
                others[other.papers.path.name] = "byte for byte"
            elif case.code.same and other.code.same == case.code.same:
                others[other.papers.path.name] = "but for comments and layout"
        found.append(others)
    return found


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


def _claims_record(folder: Path, claims: Claims) -> bool:
    """A record of the ten-minute track is claimed: by the track's name in the file or in the folder's path."""
    parts = " ".join(folder.resolve().parts[-3:])
    if claims.non_record or re.search(r"non[-_]?record", parts, re.I):
        return False
    return "10min" in claims.track.lower() or "track_10min" in parts or not claims.track


def _of_papers(found: Finding) -> Finding:
    """The question that a finding from papers belongs to: what they do not show is missing evidence of the claim."""
    return found.model_copy(update={"question": in_papers(found.question, found.status)})

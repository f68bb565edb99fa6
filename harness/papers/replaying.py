"""The witness of a finding from papers, seen again: the folder is read once more, and judged by the recorded rules."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from harness.audit.replays import Replay, outcome, unchanged, wanted
from harness.papers.collect import Case, open_case
from harness.papers.linting import judge
from harness.record import Finding, Record
from harness.rules import Ruleset


def replay_papers(record: Record, finding_id: str, folder: Path, ruleset: Ruleset) -> Replay:
    """Read a folder again, and compare one finding's witness. Nothing of the folder is run.

    Args:
        record: the record that holds the finding, of papers or of a script whose papers were read too.
        finding_id: the check's id.
        folder: the submission's.
        ruleset: to judge by.

    Raises:
        UsageError: no such finding, no witness, or the folder's files have changed.
    """
    recorded, _, _ = wanted(record, finding_id)
    case = open_case(folder, ruleset)
    if record.submission.kind == "evidence":
        remedy = "give the judged version with --submission"
        unchanged(str(folder), record.submission.sha256, case.papers.sha256, remedy)
        # Which track a folder is in is read off its path, too, and it may have moved.
        case = dataclasses.replace(case, record=record.scale == "record")
    now = next((item for item in judge(_against(case, recorded)).findings if item.id == finding_id), None)
    return outcome(recorded, now)


def _against(case: Case, recorded: Finding) -> Case:
    """The case with the record to beat that the finding was judged against, if it was against one."""
    data = recorded.witness.data if recorded.witness else {}
    if recorded.id != "significance" or "previous" not in data:
        return case
    name = str(recorded.value("previous_record") or "the record before")
    return dataclasses.replace(case, previous=(name, [float(value) for value in data["previous"]]))

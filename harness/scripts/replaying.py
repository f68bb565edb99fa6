"""The witness of a recorded finding, made again: the audit of the same script, as the record says."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from harness.errors import UsageError
from harness.progress import Progress
from harness.record import Record
from harness.scripts.auditing import ScriptOptions, audit_script
from harness.scripts.opening import open_script


def replay_script(
    record: Record, finding_id: str, path: Path, options: ScriptOptions, progress: Progress
) -> tuple[bool, str]:
    """Audit again as the record says, and compare one finding's witness: (reproduced, why).

    Raises:
        UsageError: no such finding, no witness, or the script has changed.
    """
    recorded = next((item for item in record.findings if item.id == finding_id), None)
    if recorded is None:
        known = ", ".join(item.id for item in record.findings)
        raise UsageError(f"the record has no finding {finding_id!r}; it has {known}")
    if recorded.witness is None:
        raise UsageError(f"{finding_id} is {recorded.status} and has no witness; there is nothing to replay")
    if open_script(path).sha256 != record.submission.sha256:
        raise UsageError(f"{path} has changed since the record was made; give the judged version with --submission")
    overrides = record.submission.settings.get("overrides") or {}
    options = dataclasses.replace(
        options,
        env=dict(overrides),
        seed=record.seeds[0] if record.seeds else 0,
        ranks=int(record.submission.settings.get("ranks") or 1),
    )
    with tempfile.TemporaryDirectory(prefix="harness-replay-") as scratch:
        again = audit_script(path, options, Path(scratch), progress).record
    now = next((item for item in again.findings if item.id == finding_id), None)
    if now is None or now.witness is None or now.status != recorded.status:
        return False, f"not seen again: {now.headline if now else 'the check did not report'}"
    if now.witness.data == recorded.witness.data:
        return True, f"{recorded.witness.summary}: seen again, to the last digit"
    return False, f"the same offence, with other numbers: {now.witness.summary}"

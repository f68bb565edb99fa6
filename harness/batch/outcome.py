"""What became of one submission of a batch: a row of the summary, kept beside its record as item.json."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.batch.playing import Ended
from harness.batch.tasks import Task
from harness.errors import UsageError
from harness.files import write_atomically
from harness.record import SEVERITY, Number, Record, Status
from harness.report import view
from harness.verdict import Word

ITEM = "item.json"

#: Exit codes, worst first; a batch ends with the worst of its items.
WORST = (1, 4, 2, 3, 0)

#: Outcomes without a record, with their exit codes.
UNUSABLE, TIMEOUT, CRASHED = "UNUSABLE", "TIMEOUT", "CRASHED"
_CODES = {UNUSABLE: 2, TIMEOUT: 3, CRASHED: 4}
_INTERRUPTED = 130


class Outcome(BaseModel):
    """One row.

    Attributes:
        label: as it was listed.
        outcome: the record's verdict; UNUSABLE (the submission is broken), TIMEOUT or CRASHED where there is none.
        exit_code: of this item.
        score: the answer to "may this number be believed?"; None without a record, and likewise:
        limits: the answer for bytes and seconds.
        claim: whether the papers carry what is claimed.
        headline: the sentence of the answer that decided, or the last line that was printed.
        failed: ids of checks with FAIL.
        unruled: ids of checks with UNRULED.
        reasons: why papers are not in order, ids of `harness.papers.reasons`, worst findings first.
        waivers: how many waivers count for it.
        kind: "adapter", "script" or "evidence" (linted); None without a record.
        name: what the submission calls itself.
        val_bpb: measured, at the scale of the batch; None for scripts.
        claimed_bpb: what submission.json says, also where nothing could be judged.
        author: likewise.
        pull: the pull request that the label names.
        missing: files that a clone lacks, so that it was judged without them.
        key: sha256 of what the result depends on, None where nothing could be judged.
        home: folder of the result, relative to the batch's; None likewise.
        same_as: label of an earlier item with the same files, whose result this is.
        seconds: wall time of the judgement, 0 for a copy.
        limit: seconds after which it would have been stopped.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    outcome: str
    exit_code: int
    score: Word | None = None
    limits: Word | None = None
    claim: Word | None = None
    headline: str = ""
    failed: tuple[str, ...] = ()
    unruled: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    waivers: int = 0
    kind: str | None = None
    name: str | None = None
    val_bpb: Number | None = None
    claimed_bpb: Number | None = None
    author: str | None = None
    pull: int | None = None
    missing: tuple[str, ...] = ()
    key: str | None = None
    home: str | None = None
    same_as: str | None = None
    seconds: float = 0.0
    limit: float | None = None

    @property
    def rank(self) -> tuple[int, int, int, str]:
        """Sorts the worst first: by exit code, then verdict, then how much failed."""
        verdicts = [status.value for status in SEVERITY]
        verdict = verdicts.index(self.outcome) if self.outcome in verdicts else len(verdicts)
        return (WORST.index(self.exit_code), verdict, -len(self.failed), self.label)


def unusable(label: str, problem: str) -> Outcome:
    """An item that names no submission."""
    return Outcome(label=label, outcome=UNUSABLE, exit_code=_CODES[UNUSABLE], headline=problem)


def settle(task: Task, ended: Ended, out: Path) -> Outcome:
    """The outcome of a task that ended, from its record where it left one; written into its home.

    Raises:
        KeyboardInterrupt: it was interrupted, and so are we.
    """
    if ended.code == _INTERRUPTED:
        raise KeyboardInterrupt
    outcome = _of_record(task, ended) or _without_record(task, ended)
    outcome = outcome.model_copy(
        update={
            "key": task.key,
            "home": task.home.relative_to(out).as_posix(),
            "seconds": round(ended.seconds, 2),
            "limit": task.seconds,
        }
    )
    write_atomically(task.home / ITEM, (outcome.model_dump_json(indent=2) + "\n").encode())
    return outcome


def kept(task: Task) -> Outcome | None:
    """The outcome of an earlier batch, if it is final: a record, a broken submission, or a limit no shorter than ours.

    What crashed is tried again.
    """
    try:
        body: dict[str, Any] = json.loads((task.home / ITEM).read_bytes())
        outcome = Outcome.model_validate(body)
    except (OSError, ValueError, ValidationError):
        return None
    if outcome.key != task.key or outcome.outcome == CRASHED:
        return None
    if outcome.outcome == TIMEOUT and (task.seconds is None or task.seconds > (outcome.limit or 0.0)):
        return None
    if outcome.kind is not None and not (task.home / "record.json").is_file():
        return None
    return outcome.model_copy(update={"label": task.label})


def _of_record(task: Task, ended: Ended) -> Outcome | None:
    record = None
    with contextlib.suppress(UsageError):
        record = Record.load(task.home)
    if record is None or ended.code != record.exit_code:
        return None
    if task.data is not None and record.data.sha256 != task.data:
        problem = "the data on that machine is other data; give all machines the same --data and Python"
        return Outcome(label=task.label, outcome=CRASHED, exit_code=_CODES[CRASHED], headline=problem)
    return Outcome(
        label=task.label,
        outcome=record.verdict.value,
        exit_code=record.exit_code,
        score=record.answers.score.answer,
        limits=record.answers.limits.answer,
        claim=record.answers.claim.answer,
        headline=view.decisive(record).sentence,
        failed=_ids(record, Status.FAIL),
        unruled=_ids(record, Status.UNRULED),
        reasons=view.reasons(record),
        waivers=record.ruleset.rulings.waivers if record.ruleset.rulings else 0,
        kind=record.submission.kind,
        name=record.submission.name,
        val_bpb=record.score.val_bpb if record.score else None,
        claimed_bpb=view.claimed_bpb(record),
        author=record.submission.author or record.submission.github_id,
    )


def _ids(record: Record, status: Status) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found.id for found in record.findings if found.status == status))


def _without_record(task: Task, ended: Ended) -> Outcome:
    said = ended.said.removeprefix("harness: ")
    if ended.timed_out:
        outcome = TIMEOUT
    elif ended.code == 2:
        outcome = UNUSABLE
    else:
        outcome = CRASHED
        if ended.code is not None and ended.code < 0:
            said = f"killed by signal {-ended.code}" + (f"; it said last: {said}" if said else "")
    return Outcome(label=task.label, outcome=outcome, exit_code=_CODES[outcome], headline=said or "it said nothing")

"""A gate in several jobs: what the papers leave open is dealt into shards, and what all jobs left is joined into one.

Which submissions there are is found again from git by whoever joins; a part only says what it has seen of them. What
no part has judged to its end makes the gate unfinished, and an unfinished gate does not pass.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from pydantic import ValidationError

from harness.files import sha256
from harness.gate.result import SEVERITY, GateResult, Judged
from harness.gate.run import Request, begin, save
from harness.rules import Ruleset
from harness.text import plain

#: What the part that reads papers is called; shards have names such as "1-of-3".
PAPERS = "papers"
#: What names of parts begin with where they lie side by side, each in a folder of its own: the names of artifacts.
PREFIX = "gate-part-"


class Shard(TypedDict):
    """What one job of several judges: the shard's name, and folders of the repository."""

    name: str
    folders: list[str]


def deal(result: GateResult, most: int) -> list[Shard]:
    """What the papers have left open, in at most `most` shards of about the same size.

    Every folder has been exported by then, so its name is printable and has neither control characters nor backslashes.
    It is named as the result shows it, in which nothing looks like a runner's command.
    """
    left = [one.path for one in result.submissions if one.verdict == "NOT_RUN"]
    count = min(most, len(left))
    return [Shard(name=f"{index + 1}-of-{count}", folders=left[index::count]) for index in range(count)]


def to_json(shards: list[Shard]) -> str:
    """Shards as a line of ASCII, as a workflow hands it from one job to a matrix of others."""
    return json.dumps(shards, ensure_ascii=True)


@dataclass(frozen=True)
class _Part:
    """What one job left: its name, the folder, and the result; or why that is of no use."""

    name: str
    home: Path
    result: GateResult | None
    trouble: str = ""


def join(request: Request, ruleset: Ruleset, parts: Path) -> GateResult:
    """One result of what the parts of a gate left in `parts`, a folder for each; their records go along.

    Raises:
        UsageError: the repository or a revision is not there, or too much has changed.
    """
    result = begin(request, ruleset).result
    left = [_load(home, result) for home in (sorted(parts.iterdir()) if parts.is_dir() else [])]
    troubles = [f"{part.name}: {part.trouble}" for part in left if part.trouble]
    result.submissions = [_judged(wanted, left, request.out, troubles) for wanted in result.submissions]
    result.complete = all(one.verdict is not None for one in result.submissions)
    if not result.complete:
        result.unfinished = plain("; ".join(dict.fromkeys(troubles)), 1100)
    save(result, request.out)
    return result


def _load(home: Path, whole: GateResult) -> _Part:
    name = plain(home.name.removeprefix(PREFIX), 100)
    try:
        made = GateResult.model_validate_json((home / "gate.json").read_bytes())
    except OSError:
        return _Part(name, home, None, "it left no result")
    except ValidationError:
        return _Part(name, home, None, "its result cannot be read")
    if (made.revisions, made.harness.sha256) != (whole.revisions, whole.harness.sha256):
        return _Part(name, home, None, "it is about other commits, or by another harness")
    if made.ruleset.sha256 != whole.ruleset.sha256:
        return _Part(name, home, None, "it judged by other rules")
    return _Part(name, home, made, "" if made.complete else made.unfinished or "it was stopped from outside")


def _judged(wanted: Judged, left: Sequence[_Part], out: Path, troubles: list[str]) -> Judged:
    """What the parts have seen of one submission, a shard's word before that of the papers; its records go to `out`."""
    seen = [
        (part, one)
        for part in left
        if part.result is not None
        for one in part.result.submissions
        if (one.path, one.folder) == (wanted.path, wanted.folder)
    ]
    if not seen:
        troubles.append(f"{wanted.path}: no job has left a result of it")
        return wanted
    # Where two shards have judged it, as after a job was run again, the worse word counts.
    part, one = min(seen, key=lambda item: (item[0].name == PAPERS, SEVERITY.index(item[1].verdict or "NOT_RUN")))
    home = out / wanted.folder
    shutil.rmtree(home, ignore_errors=True)
    if (part.home / wanted.folder).is_dir():
        shutil.copytree(part.home / wanted.folder, home)
    why = ""
    if part.name == PAPERS and one.verdict == "NOT_RUN":
        why = "no job that audits has left a result of it"
    elif any(stage.record and not _is(home / stage.name / "record.json", stage.sha256) for stage in one.stages):
        why = "its records are not those of its result"
    if why:
        troubles.append(f"{wanted.path}: {why}")
        one = one.model_copy(update={"verdict": None, "headline": "", "answers": []})
    return one.model_copy(update={"part": part.name})


def _is(path: Path, digest: str | None) -> bool:
    return path.is_file() and sha256(path) == digest

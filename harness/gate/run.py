"""The gate itself: from two revisions to one result, submission after submission, written down as it goes."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from harness.changes import Change, Changes, find
from harness.environment import need_run
from harness.errors import HarnessError, SubmissionError, UsageError
from harness.files import sha256, write_atomically
from harness.folder import safe_name
from harness.gate import stages
from harness.gate.export import Exported, export
from harness.gate.keys import described, differs_from
from harness.gate.result import (
    MAX_PLACES,
    MAX_SUBMISSIONS,
    FailOn,
    Flag,
    GateResult,
    Harness,
    Judged,
    Place,
    Reply,
    Revisions,
    Said,
    Stage,
    Tier,
    Verdict,
    conclusion_of,
    exit_code_of,
    gaps,
    worst,
)
from harness.gate.stages import Made, Settings
from harness.gate.store import Store, in_ci
from harness.gate.summary import render
from harness.git import Repository
from harness.progress import Progress
from harness.record import SEVERITY, Finding, Record, RulesetInfo, Status
from harness.report import view
from harness.report.places import places
from harness.rules import Ruleset
from harness.scripts.checks import judging
from harness.text import plain
from harness.verdict import decide

_QUIET = (Status.PASS, Status.NOT_APPLICABLE)
_RESERVED = ("gate.json", "summary.md")


@dataclass(frozen=True)
class Request:
    """What to judge.

    Attributes:
        repository: a git repository with both revisions.
        base: revision that the pull request wants to be merged into.
        head: revision that it offers.
        tier: "papers" runs nothing, "quick" ends after one evaluation, "full" goes on to the whole audit.
        fail_on: the mildest outcome that is held against a pull request.
        out: folder for gate.json, summary.md and one folder of records for each submission.
        cache: folder of results of earlier gates, or None.
        only: folders of the repository to judge of those that have changed, by path or as a result shows it; empty for
            all.
    """

    repository: Path
    base: str
    head: str
    out: Path
    tier: Tier = "full"
    fail_on: FailOn = "fail"
    cache: Path | None = None
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Begun:
    """What is known before anything is judged: the result so far, with each submission that is to be in it."""

    repository: Repository
    head: str
    submissions: tuple[Change, ...]
    result: GateResult


def begin(request: Request, ruleset: Ruleset) -> Begun:
    """Find what is to be judged, and begin the result, which has not come to its end.

    Raises:
        UsageError: the repository or a revision is not there, too much has changed, or a folder that was named has not.
    """
    repository = Repository(request.repository)
    base, head = repository.commit(request.base), repository.commit(request.head)
    before = repository.merge_base(base, head)
    changes = find(repository, before, head)
    other = differs_from(repository, base)
    result = GateResult(
        tier=request.tier,
        fail_on=request.fail_on,
        revisions=Revisions(base=base, head=head, merge_base=before),
        harness=Harness.model_validate({**described(), "other_than_base": other}),
        ruleset=RulesetInfo(name=ruleset.name, title=ruleset.title, sha256=ruleset.sha256),
        flags=_flags(changes, other),
    )
    # A folder of results is called the same in every part of a gate, so names are given before some are chosen.
    named = list(zip(changes.submissions, _folders(changes.submissions), strict=True))
    chosen = [(change, name) for change, name in named if not request.only or _names(change) & {*request.only}]
    with _told(result, request.out):
        if unknown := sorted({*request.only}.difference(*(_names(change) for change, _ in chosen))):
            raise UsageError(f"--only {unknown[0]}: no submission that has changed is in that folder")
        if len(chosen) > MAX_SUBMISSIONS:
            raise UsageError(f"{len(chosen)} submissions have changed; a gate takes {MAX_SUBMISSIONS}")
    result.submissions = [
        Judged(path=_shown(change), folder=name, how=change.how, before=_before(change)) for change, name in chosen
    ]
    return Begun(repository, head, tuple(change for change, _ in chosen), result)


def gate(request: Request, settings: Settings, progress: Progress) -> GateResult:
    """Judge every submission that the head adds, changes or renames.

    gate.json and summary.md are written after every stage, so that an interrupted gate leaves what it had found; the
    same request takes up where it ended, except in CI, where every verdict is made anew.

    Raises:
        UsageError: the repository or a revision is not there, or too much has changed.
        KeyboardInterrupt: it was interrupted.
    """
    begun = begin(request, settings.ruleset)
    result = begun.result
    for flag in result.flags:
        progress.note(flag.text)
    with _told(result, request.out):
        _judge_all(begun, request, settings, progress)
    return result


def _judge_all(begun: Begun, request: Request, settings: Settings, progress: Progress) -> None:
    result, repository, head = begun.result, begun.repository, begun.head
    if request.tier != "papers" and begun.submissions:
        need_run()
        if any(repository.entries(head, f"{change.path}/submission.py") for change in begun.submissions):
            settings.data()  # what is wrong with it is no submission's fault
    save(result, request.out)
    fresh = in_ci()
    store = Store(request.cache, readable=not fresh)
    if fresh and request.cache is not None:
        progress.note("CI: the cache is filled, but no result is taken from it")
    for index, (change, judged) in enumerate(zip(begun.submissions, result.submissions, strict=True)):
        progress.note(f"submission {index + 1} of {len(result.submissions)}: {judged.path} ({judged.how})")
        home = request.out / judged.folder
        if fresh:
            shutil.rmtree(home, ignore_errors=True)
        one = _One(judged, request, settings, home, store, progress, lambda: save(result, request.out), not fresh)
        with tempfile.TemporaryDirectory(prefix="golf-gate-") as scratch:
            one.judge(Path(scratch), partial(export, repository, head, change.path, Path(scratch)))
        progress.note(f"{judged.path}: {judged.verdict}, {judged.headline}")
    result.complete = True
    save(result, request.out)


@contextlib.contextmanager
def _told(result: GateResult, out: Path) -> Iterator[None]:
    """Whatever ends a gate before its end stands in its result: who waits for the comment reads no job's log."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, HarnessError):
            result.unfinished = plain(str(error), 1000)
        elif isinstance(error, KeyboardInterrupt):
            result.unfinished = "it was interrupted, as a job is that is cancelled or runs out of time"
        else:
            result.unfinished = f"internal error ({type(error).__name__})"
        save(result, out)
        raise


@dataclass(frozen=True)
class _One:
    """One submission on its way through the stages."""

    judged: Judged
    request: Request
    settings: Settings
    home: Path
    store: Store
    progress: Progress
    save: Callable[[], None]
    resume: bool

    def judge(self, scratch: Path, exporting: Callable[[], Exported]) -> None:
        """Go through the stages until one decides. What is the submission's fault is BROKEN, what is ours ERROR.

        Args:
            scratch: where the files are put; errors name them without it.
            exporting: puts them there.
        """
        try:
            self._judge(exporting())
        except UsageError as error:
            log = error.log if isinstance(error, SubmissionError) else None
            where = f"; what it printed is in {self.judged.folder}/{log.parent.name}/{log.name}" if log else ""
            self._broken("BROKEN", str(error).replace(f"{scratch}/", "") + where)
        except (HarnessError, OSError) as error:
            self._broken("ERROR", str(error).replace(f"{scratch}/", ""))
        except Exception as error:
            self.home.mkdir(parents=True, exist_ok=True)
            (self.home / "error.log").write_text(traceback.format_exc(), encoding="utf-8", errors="replace")
            self._broken("ERROR", f"internal error ({type(error).__name__}); error.log has the traceback")
        done = {stage.name for stage in self.judged.stages}
        for stale in {"papers", "smoke", "full"} - done:  # of an earlier gate that got further
            shutil.rmtree(self.home / stale, ignore_errors=True)
        self.save()

    def _judge(self, exported: Exported) -> None:
        judged, path = self.judged, exported.path
        judged.sha256 = exported.sha256
        judged.kind = kind = stages.kind_of(path)
        claimed = stages.papers(path, self.settings, self.home / "papers")
        self._add("papers", claimed)
        if claimed.record.verdict == Status.FAIL:
            self._decide(claimed.record)
            return
        judged.stages.append(Stage(name="static", verdict="PASS", headline=plain(stages.static(path, kind), 400)))
        self.save()
        if self.request.tier == "papers":
            self._leave(claimed.record)
            return
        made = claimed
        names: tuple[Literal["smoke", "full"], ...] = ("smoke",) if self.request.tier == "quick" else ("smoke", "full")
        for name in names:
            made = stages.behaviour(
                exported, kind, self.settings, self.home, name, self.store, self.progress, resume=self.resume
            )
            self._add(name, made)
            if made.record.verdict == Status.FAIL:
                break
        record = made.record
        if kind == "script" and self.request.tier == "quick":  # a full audit has the papers' findings already
            findings = judging.merge(record.findings, claimed.record.findings)
            decision = decide(findings, "script")
            update = {"findings": findings, "answers": decision.answers, "verdict": decision.verdict}
            record = record.model_copy(update=update)
        self._decide(record)

    def _add(self, name: str, made: Made) -> None:
        file = self.home / name / "record.json"
        stage = {
            "name": name,
            "verdict": made.record.verdict.value,
            "headline": _headline(made.record),
            "source": made.source,
            "record": f"{self.judged.folder}/{name}/record.json",
            "sha256": sha256(file),
            "findings": _findings(made.record, bare=name == "papers" and self.judged.kind == "adapter"),
        }
        self.judged.stages.append(Stage.model_validate(stage))
        if made.source != "run":
            self.progress.note(f"{name}: taken {'from the cache' if made.source == 'cache' else 'from before'}")
        self.save()

    def _decide(self, record: Record) -> None:
        self.judged.verdict = record.verdict.value
        self.judged.headline = _headline(record)
        self.judged.answers = [
            Reply(question=question, answer=answer.answer, sentence=plain(answer.sentence, 1000))
            for question, answer in record.answers.items()
        ]
        self.judged.val_bpb = record.score.val_bpb if record.score else None

    def _leave(self, claimed: Record) -> None:
        """The end of a submission whose papers were all that was asked for: they contradict nothing, and no more."""
        self._decide(claimed)
        if self.judged.kind == "adapter":
            self.judged.answers = []  # it needs no logs, so that its papers answer nothing
        gap = next(iter(gaps(self.judged)), None)
        said = f"; {gap.question} {gap.answer}: {gap.sentence}" if gap else ""
        self.judged.verdict, self.judged.headline = "NOT_RUN", plain(f"its papers contradict nothing{said}", 600)

    def _broken(self, verdict: Verdict, why: str) -> None:
        done = {stage.name for stage in self.judged.stages}
        name = next((name for name in ("papers", "static", "smoke", "full") if name not in done), "full")
        headline = plain(why, 600)
        self.judged.stages.append(Stage(name=name, verdict=verdict, headline=headline))  # type: ignore[arg-type]
        self.judged.verdict, self.judged.headline = verdict, headline


def _flags(changes: Changes, other: bool | None) -> list[Flag]:
    flags = []
    if changes.judge:
        names = ", ".join(plain(name, 80) for name in changes.judge[:5]) + (" and more" if changes.judge[5:] else "")
        both = bool(changes.submissions or changes.removed)
        flags.append(
            Flag(
                id="judge-and-submissions",
                blocks=True,
                text=f"changes what judges ({len(changes.judge)} files: {names}) and submissions at once;"
                " make it two pull requests",
            )
            if both
            else Flag(
                id="judge-changed",
                blocks=False,
                text=f"changes what judges ({len(changes.judge)} files: {names}); the gate says nothing about that",
            )
        )
    if changes.removed:
        names = ", ".join(plain(name, 80) for name in changes.removed[:5])
        names += " and more" if changes.removed[5:] else ""
        flags.append(Flag(id="removed", blocks=False, text=f"removes {len(changes.removed)} submissions: {names}"))
    if changes.elsewhere:
        flags.append(Flag(id="elsewhere", blocks=False, text=f"changes {changes.elsewhere} files outside submissions"))
    if other:
        text = "the harness that judged is not the one in the base commit"
        flags.append(Flag(id="other-harness", blocks=False, text=text))
    return flags


def _folders(submissions: tuple[Change, ...]) -> list[str]:
    """A name for each submission's results: its own, numbered where two are called the same."""
    names: list[str] = []
    for change in submissions:
        base = safe_name(change.path.rsplit("/", 1)[-1]).strip(".") or "submission"
        name, count = base, 1
        while name in names or name in _RESERVED:
            count += 1
            name = f"{base}-{count}"
        names.append(name)
    return names


def _shown(change: Change) -> str:
    return plain(change.path, 250)


def _names(change: Change) -> set[str]:
    """What a folder may be named by: its path, and what a result shows of it."""
    return {change.path, _shown(change)}


def _before(change: Change) -> str | None:
    return plain(change.before, 250) if change.before else None


def _headline(record: Record) -> str:
    """The answer that decided, with its sentence."""
    reply = view.decisive(record)
    return plain(f"{reply.question} {reply.word}: {reply.sentence}", 400)


def _findings(record: Record, *, bare: bool) -> list[Said]:
    """Findings that somebody should read, worst first; `bare` leaves out what is merely not shown."""
    quiet = (*_QUIET, Status.INCONCLUSIVE, Status.NOT_RUN) if bare else _QUIET
    worth = sorted((f for f in record.findings if f.status not in quiet), key=lambda f: SEVERITY.index(f.status))
    return [
        Said(id=plain(one.id, 80), status=one.status, headline=plain(one.headline, 600), places=_places(one))
        for one in worth[:40]
    ]


def _places(finding: Finding) -> list[Place]:
    """The first lines that a finding's witness names."""
    return [
        Place(file=plain(file, 250), line=line, text=plain(text, 250))
        for file, line, text in places(finding)[:MAX_PLACES]
    ]


def save(result: GateResult, out: Path) -> None:
    """Write gate.json and summary.md; verdict, exit code and conclusion are those of what is known so far."""
    result.verdict = worst([one.verdict for one in result.submissions if one.verdict is not None])
    result.exit_code = exit_code_of(result)
    result.conclusion, result.reason = conclusion_of(result)
    if result.tier != "full":
        result.not_run = stages.left_out({one.kind for one in result.submissions if one.kind}, result.tier)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "gate.json", (result.model_dump_json(by_alias=True, indent=2) + "\n").encode())
    with contextlib.suppress(FileNotFoundError):
        (out / "summary.md").unlink()
    write_atomically(out / "summary.md", render(result.model_dump(mode="json", by_alias=True)).encode())

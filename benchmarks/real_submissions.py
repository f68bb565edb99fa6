"""Audit real submissions as they are, and tabulate what came out: docs/real-submissions.md.

    git clone https://github.com/openai/parameter-golf contest
    git -C contest fetch origin '+refs/pull/*/head:refs/pull/*/head'
    python benchmarks/real_submissions.py --contest contest --work runs/real [--only merged|prs] [--match TEXT]
    python benchmarks/real_submissions.py --contest contest --work runs/real --random 60 --seed 1
    python benchmarks/real_submissions.py --work runs/real --table docs/real-submissions.md

The first form exports every folder of both tracks with a script (merged: HEAD; unmerged: the pull requests listed in
benchmarks/real_submissions.json with our labels), audits what has no record yet, each in a process of its own as
`harness batch` does, and may be stopped and started at will. The second does so with pull requests that are drawn from
the repository's refs and that nobody labelled: those that add or change a folder with a script, in an order that the
seed draws. The third writes the table from the records, with every status that is another one than
benchmarks/real_submissions.statuses.json has; `--freeze` writes that file. Nothing of the contest is copied into this
project.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness import changes
from harness.batch import repository
from harness.batch.items import is_submission
from harness.batch.local import play
from harness.batch.outcome import settle
from harness.batch.tasks import Settings, Task, task_of
from harness.errors import HarnessError, UsageError
from harness.git import Repository
from harness.record import Finding, Record, Status
from harness.scripts.reasons import REASONS

LABELS = Path(__file__).with_suffix(".json")
STATUSES = Path(__file__).with_suffix(".statuses.json")
TRACKS = ("records/track_10min_16mb", "records/track_non_record_16mb")

#: Dynamic checks, in the order of the table's columns.
CHECKS = (
    "causality", "score-before-update", "artifact-independence", "null-stream", "normalization", "single-pass",
    "byte-accounting", "warm-up",
)  # fmt: skip

#: A broken rule may be shown by another check than the one that names it: the entropy bound covers all of them.
INSTEAD = {
    "normalization": ("null-stream", "causality"),
    "single-pass": ("causality", "null-stream"),
    "score-before-update": ("causality", "artifact-independence", "null-stream"),
    "causality": ("null-stream",),
    "artifact-independence": ("causality", "null-stream"),
}
SHORT = {Status.PASS: "ok", Status.FAIL: "**FAIL**", Status.UNRULED: "unruled", Status.INCONCLUSIVE: "?",
         Status.NOT_RUN: "–", Status.ERROR: "error", Status.NOT_APPLICABLE: "n/a"}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """One submission: `name` of its folder below WORK, where it is in the contest's repository, and our label.

    `expect` are the checks that should fail; `also` are others that may, because the source breaks their rule too.
    """

    name: str
    revision: str
    path: str
    family: str
    expect: tuple[str, ...]
    also: tuple[str, ...] = ()

    @property
    def merged(self) -> bool:
        """In the contest's main branch."""
        return self.family == "merged"


def drawn(contest: Path, count: int, seed: int, work: Path) -> list[Subject]:
    """The first folder with a script of each of `count` pull requests, in an order that the seed draws."""
    opened = Repository(contest)
    numbers = sorted(int(ref.split("/")[2]) for ref in opened.refs("refs/pull/*/head"))
    random.Random(seed).shuffle(numbers)
    main, found = opened.commit("HEAD"), []
    for number in numbers:
        if len(found) == count:
            break
        try:
            head = opened.commit(f"refs/pull/{number}/head")
            changed = changes.find(opened, opened.merge_base(main, head), head).submissions
            there = next((c.path for c in changed if _holds(contest, head, c.path, work)), None)
        except HarnessError as error:
            print(f"not there pull request {number}: {error}", flush=True)
            continue
        if there:
            found.append(Subject(f"random/{number}-{PurePosixPath(there).name}", head, there, "drawn", ()))
    return found


def _holds(contest: Path, revision: str, path: str, work: Path) -> bool:
    return is_submission(repository.export(contest, revision, path, work / "sources").path)


def subjects(contest: Path | None, work: Path) -> list[Subject]:
    """Merged folders of both tracks that hold a submission, then the labelled pull requests."""
    if contest is not None:
        folders = [path for track in TRACKS for path in repository.folders(contest, "HEAD", f"{track}/*")]
        sources = work / "sources"
        merged = [path for path in folders if is_submission(repository.export(contest, "HEAD", path, sources).path)]
    else:  # where they are does not matter to their records
        merged = [f"{TRACKS[0]}/{path.name}" for path in sorted((work / "merged").glob("*"))]
    found = [Subject(f"merged/{Path(path).name}", "HEAD", path, "merged", ()) for path in merged]
    for item in json.loads(LABELS.read_text())["pull_requests"]:
        revision = f"refs/pull/{item['pr']}/head"
        expect, also = tuple(item["expect"]), tuple(item.get("also", ()))
        found.append(Subject(f"prs/{item['name']}", revision, item["path"], item["family"], expect, also))
    return found


def tasks(wanted: list[Subject], contest: Path, work: Path, seconds: float, depth: str) -> Iterator[Task]:
    """Audits of those that have no record yet, whichever harness made it; folders of records are called as subjects."""
    how = Settings(scripts=("--timeout", str(seconds), "--depth", depth))
    for subject in wanted:
        home = (work / "records" / subject.name).absolute()
        if (home / "record.json").is_file():
            print(f"kept      {subject.name}", flush=True)
            continue
        folder = work / subject.name
        try:
            if not folder.is_dir():
                exported = repository.export(contest, subject.revision, subject.path, work / "sources").path
                folder.parent.mkdir(parents=True, exist_ok=True)
                folder.symlink_to(exported.absolute())
        except UsageError as error:
            print(f"not there {subject.name}: {error}", flush=True)
            continue
        yield dataclasses.replace(task_of(subject.name, folder, how, home.parent, None), home=home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contest", type=Path, help="a clone of the contest's repository, bare or not")
    parser.add_argument("--work", type=Path, required=True, help="where submissions and records are kept")
    parser.add_argument("--only", choices=["merged", "prs"])
    parser.add_argument("--match", default="", help="audit only names that contain this")
    parser.add_argument("--each", type=int, default=0, help="at most so many pull requests of a family")
    parser.add_argument("--jobs", type=int, default=1, help="audits at a time; one keeps two cores busy")
    parser.add_argument("--timeout", type=float, default=300.0, help="CPU seconds for one run of a script")
    parser.add_argument("--depth", choices=["quick", "standard"], default="standard", help="as of harness audit")
    parser.add_argument("--table", type=Path, help="write the table from the records that are there, and stop")
    parser.add_argument(
        "--freeze", action="store_true", help="keep the statuses of the records that are there, and stop"
    )
    parser.add_argument("--random", type=int, default=0, help="audit so many pull requests that are drawn, instead")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    args = parser.parse_args()
    if args.random and args.contest is None:
        parser.error("--contest is needed to draw pull requests")
    known = drawn(args.contest, args.random, args.seed, args.work) if args.random else subjects(args.contest, args.work)
    if args.freeze:
        records = [(s.name, _load(args.work / "records" / s.name)) for s in known if s.family != "drawn"]
        made = {name: statuses(record) for name, record in records if record is not None}
        STATUSES.write_text(json.dumps({**frozen(), **made}, indent=1, sort_keys=True) + "\n")
        print(STATUSES)
        return
    if args.table:
        found = [] if args.random else sorted((args.work / "records" / "random").glob("*"))
        known += [Subject(f"random/{path.name}", "", "", "drawn", ()) for path in found]
        args.table.write_text("\n".join(table(known, args.work / "records")) + "\n")
        print(args.table)
        return
    if args.contest is None:
        parser.error("--contest is needed to audit; without it, --table writes the page")
    wanted = [s for s in known if args.match in s.name and (not args.only or s.name.startswith(args.only))]
    missing = list(tasks(_in_turn(wanted, args.each), args.contest, args.work, args.timeout, args.depth))
    for task, ended in play(missing, jobs=args.jobs):
        outcome = settle(task, ended, args.work.absolute())
        print(f"{ended.seconds:6.1f} s  {outcome.outcome}: {outcome.headline[:100]}  {task.label}", flush=True)


def _in_turn(wanted: list[Subject], each: int) -> list[Subject]:
    """Merged ones as they come, then one of each family in turn: what is cut short is still a fair choice."""
    families: dict[str, list[Subject]] = defaultdict(list)
    for subject in wanted:
        families["" if subject.merged else subject.family].append(subject)
    merged = families.pop("", [])
    longest = max(map(len, families.values()), default=0)
    rounds = range(min(longest, each) if each else longest)
    return merged + [items[turn] for turn in rounds for items in families.values() if turn < len(items)]


def table(known: list[Subject], records: Path) -> list[str]:
    """The page: a summary, recall by family, everything that came out wrong, and the two tables."""
    loaded = [(subject, _load(records / subject.name)) for subject in known]
    there = [(subject, record) for subject, record in loaded if record is not None]
    families = json.loads(LABELS.read_text())["families"]
    lines = [
        "# Real submissions, audited as they are",
        "",
        "Written by `benchmarks/real_submissions.py`; its docstring says how to run it. Every script ran as it is, at",
        "a tiny size, on a CPU. Labels of unmerged pull requests are ours, made from the threads and the code before",
        "the audit; they may be wrong. A `?` is INCONCLUSIVE: it ran, and does not decide. An `unruled` names a",
        "practice that no ruling covers. Names are the contest's folders. Seconds are wall time of a whole audit on",
        "two cores; where other work ran beside them, they are too long. Memory is the peak of the plain run.",
        "",
    ]
    lines += [*_summary(there), "", "## Recall and false alarms by family", "", *_families(there, families), ""]
    lines += ["## Every case that came out otherwise than labelled", "", *_wrong(there), ""]
    lines += ["## Every status that is another one than before", "", *_changed(there), ""]
    for title, family in (("Merged records", "merged"), ("Unmerged pull requests", ""), ("Drawn at random", "drawn")):
        rows = [(s, r) for s, r in there if (s.family if s.family in ("merged", "drawn") else "") == family]
        if rows:
            lines += [f"## {title} ({len(rows)})", "", *_answered(rows), "", *_rows(rows), ""]
    missing = [subject.name for subject, record in loaded if record is None]
    if missing:
        lines += ["## Not audited yet", "", ", ".join(missing)]
    return lines


def statuses(record: Record) -> dict[str, str]:
    """What each check concluded, and the answer to each question."""
    answers = {question: answer.answer for question, answer in record.answers.items()}
    return {**{item.id: item.status.value for item in record.findings}, **answers}


def frozen() -> dict[str, dict[str, str]]:
    """The statuses that are kept, by the subject's name."""
    found: dict[str, dict[str, str]] = json.loads(STATUSES.read_text()) if STATUSES.is_file() else {}
    return found


def _changed(there: list[tuple[Subject, Record]]) -> list[str]:
    lines, kept = [], frozen()
    for subject, record in there:
        before, now = kept.get(subject.name), statuses(record)
        for name in sorted({*(before or {}), *now}) if before is not None else ():
            if (old := before.get(name, "none")) != (new := now.get(name, "none")):
                lines.append(f"* {subject.name}: {name} was {old} and is {new}")
    return lines or ["None."]


def _summary(there: list[tuple[Subject, Record]]) -> list[str]:
    merged = [record for subject, record in there if subject.merged]
    seconds = [float(record.timing.get("seconds", 0)) for _, record in there]
    exact = sum(_match(record) is not None and _match(record) <= 1e-6 for record in merged)  # type: ignore[operator]
    accused = [
        subject.name for subject, record in there
        if subject.merged and _failed(record) & {"causality", "normalization", "null-stream"}
    ]  # fmt: skip
    lines = [
        f"* {len(there)} scripts: {len(merged)} merged, {len(there) - len(merged)} not. Median "
        f"{statistics.median(seconds) if seconds else 0:.0f} s an audit, longest {max(seconds, default=0):.0f} s.",
        f"* {exact} of {len(merged)} merged records: the losses followed add up to the printed one within 1e-6.",
        f"* Merged records that fail causality, normalization or null-stream: {', '.join(accused) or 'none'}.",
    ]
    return lines


def _answered(rows: list[tuple[Subject, Record]]) -> list[str]:
    """How many have an answer on the score, and why the others have none, in the verdict's own sentence."""
    words = Counter(record.answers.score.answer for _, record in rows)
    traced = sum(_match(record) is not None for _, record in rows)
    lines = [
        f"The counted pass was traced in {traced} of {len(rows)}. The score: "
        + ", ".join(f"{count} {word}" for word, count in words.most_common())
        + ".",
        "",
        *_untraced(rows),
    ]
    for subject, record in rows:
        if record.answers.score.answer in ("UNDECIDED", "INVALID"):
            answer = record.answers.score
            reason = (record.data.facts.get("not traced") or {}).get("reason")
            why = f" ({reason})" if reason else ""
            lines.append(f"* {subject.name.split('/', 1)[1]}: {answer.answer}{why}. {_text(answer.sentence)}")
    return lines


def _untraced(rows: list[tuple[Subject, Record]]) -> list[str]:
    """How many counted passes were not traced, by the reasons of the closed list."""
    found = [(record.data.facts.get("not traced") or {}).get("reason") for _, record in rows]
    counts = Counter(reason for reason in found if reason is not None)
    if not counts:
        return []
    lines = [f"* {count} x *{reason}*: {REASONS.get(reason, reason)}" for reason, count in counts.most_common()]
    return ["Not traced, and why:", "", *lines, ""]


def _families(there: list[tuple[Subject, Record]], families: dict[str, str]) -> list[str]:
    lines = ["| family | what it does | n | caught | by the named check | not decided | missed | other FAIL |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    groups: dict[str, list[tuple[Subject, Record]]] = defaultdict(list)
    for subject, record in there:
        groups[subject.family].append((subject, record))
    for family, items in sorted(groups.items()):
        caught = sum(_caught(s, r) for s, r in items)
        named = sum(bool(s.expect) and set(s.expect) <= _failed(r) for s, r in items)
        open_ = sum(bool(s.expect) and not _caught(s, r) and _undecided(s, r) for s, r in items)
        missed = sum(bool(s.expect) and not _caught(s, r) and not _undecided(s, r) for s, r in items)
        other = sum(bool(_surplus(s, r)) for s, r in items)
        guilty = any(s.expect for s, _ in items)
        cells = (caught, named, open_, missed) if guilty else ("–",) * 4
        lines.append(
            f"| {family} | {families.get(family, 'in the contest’s main branch')} | {len(items)} | "
            + " | ".join(map(str, (*cells, other))) + " |"
        )  # fmt: skip
    return lines


def _wrong(there: list[tuple[Subject, Record]]) -> list[str]:
    lines = []
    for subject, record in there:
        if subject.expect and not _caught(subject, record):
            seen = [item for check in subject.expect for item in record.findings if item.id == check]
            told = "; ".join(f"{item.id} {item.status.value}: {item.headline}" for item in seen[:2])
            lines.append(f"* {subject.name} ({subject.family}): not caught. {_text(told)}")
        for item in _surplus(subject, record):
            lines.append(
                f"* {subject.name} ({subject.family}): {item.id} FAIL, not in the label. {_text(item.headline)}"
            )
    return lines or ["None."]


def _rows(rows: list[tuple[Subject, Record]]) -> list[str]:
    head = ["submission", "family", "s", "GB", "passes", "scored", "match", *CHECKS, "folder's own FAILs"]
    head += ["score", "limits", "claim"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for subject, record in rows:
        by_id = {item.id: item for item in record.findings}
        passes = record.data.facts.get("passes") or []
        scored = by_id["single-pass"].value("positions_scored") if "single-pass" in by_id else "–"
        match = _match(record)
        static = sorted(_failed(record) - set(CHECKS))
        cells: list[Any] = [
            subject.name.split("/", 1)[1], subject.family, f"{float(record.timing.get('seconds', 0)):.0f}",
            f"{_peak(record):.1f}", len(passes),
            scored, "–" if match is None else f"{match:.0e}",
            *(SHORT[by_id[check].status] if check in by_id else "" for check in CHECKS), ", ".join(static),
            *(answer.answer for _, answer in record.answers.items()),
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def _peak(record: Record) -> float:
    peak = record.environment.get("peak_memory_bytes")
    return float(peak.get("base run", 0)) / 1e9 if isinstance(peak, dict) else 0.0


def _failed(record: Record) -> set[str]:
    return {item.id for item in record.findings if item.status == Status.FAIL}


def _caught(subject: Subject, record: Record) -> bool:
    failed = _failed(record)
    wanted = {other for check in subject.expect for other in (check, *INSTEAD.get(check, ()))}
    return bool(wanted & failed)


def _undecided(subject: Subject, record: Record) -> bool:
    open_ = (Status.INCONCLUSIVE, Status.NOT_RUN, Status.ERROR, Status.UNRULED)
    return any(item.id in subject.expect and item.status in open_ for item in record.findings)


def _surplus(subject: Subject, record: Record) -> Iterator[Finding] | list[Finding]:
    """Dynamic FAILs that the label does not explain."""
    explained = {other for check in (*subject.expect, *subject.also) for other in (check, *INSTEAD.get(check, ()))}
    if "causality" in explained:
        explained.add("score-before-update")
    return [i for i in record.findings if i.status == Status.FAIL and i.id in CHECKS and i.id not in explained]


def _match(record: Record) -> float | None:
    """Relative difference between the followed losses' mean and the printed one.

    Where few digits are printed, and the number that the script read from torch says more, to that number.
    """
    for item in record.findings:
        if item.id == "causality":
            values = [item.value(name) for name in ("difference_to_print", "difference_to_read")]
            found = [float(value) for value in values if isinstance(value, int | float)]
            return min(found) if values[0] is not None and found else None
    return None


def _load(folder: Path) -> Record | None:
    return Record.load(folder) if (folder / "record.json").is_file() else None


def _text(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")[:400]


if __name__ == "__main__":
    main()

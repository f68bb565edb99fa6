"""How many runs, seeds and settings a folder shows, and whether its claim is the best of them.

What is counted is what the folder holds: scored runs in its logs, results by seed in submission.json, points of sweeps
in a log, rows of seeds in the README. A choice is found only where the numbers leave no doubt: the runs that carry the
claim and others of the same configuration, every one of them worse; or one evaluation out of a sweep over the
validation text, the lowest. What was run and not shown stays unknown.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.audit.practices import Seen
from harness.papers.collect import Case
from harness.papers.headline import fits
from harness.papers.logs import Run, bare
from harness.papers.reading import Number, Paper, Quote

#: Settings that differ from run to run without being a choice.
OWN = re.compile(
    r"seed|run_id|run_name|log|path|dir|file|rank|port|time_?stamp|device|host|wandb|resume|main_process|_every$"
)
_SWEEP = re.compile(r"(?<![a-z])(?:sweep|grid|candidate|trial|profile|best)(?![a-z])", re.I)
_BPB = re.compile(r"(?<![\w.])(?:val_)?bpb[:= ]{1,3}(?P<bpb>\d\.\d{3,12})(?![\d.])", re.I)
#: A point of a sweep that a script numbers or names: `rank 3: ttt_lr1e-3 = 1.6500`, `[SWEEP] T=0.98 1.0812`.
_POINT = re.compile(r"(?<![\w.])(?P<bpb>[0-5]\.\d{4,12})(?![\d.%]|s\b)")
#: As a word that ends there, or in front of the score: `best_agree_bpb` is the name of an expert.
_BEST = re.compile(r"(?<![a-z])best(?:_val)?(?:_bpb)?(?![a-z_])", re.I)
_BEST_OF = re.compile(
    r"\bbest (?:of|out of|among|from) (?:the )?(?:\d{1,3}|two|three|four|five|six|ten|several|many)"
    r" (?:seeds|runs|trials)\b",
    re.I,
)
_MOST_POINTS = 400
#: Results by seed up to which every choice among them is tried.
_MOST_LISTED = 12


@dataclass
class Looks:
    """What was looked at, as far as the folder shows it.

    Attributes:
        runs: runs with a score in the logs.
        profiles: different settings among these, seeds and paths apart; 0 where no log dumps any.
        seeds: different seeds among these, and among the results in submission.json and the README's rows.
        claimed: runs, or results by seed, that the claim rests on.
        points: points of sweeps over one artifact in the logs that carry the claim.
        how: how the claim was chosen, in words.
        seen: practices that this shows.
        quotes: the lines that show it.
    """

    runs: int = 0
    profiles: int = 0
    seeds: int = 0
    claimed: int = 0
    points: int = 0
    how: str = "not shown"
    seen: list[Seen] = field(default_factory=list)
    quotes: list[Quote | Number | None] = field(default_factory=list)

    @property
    def told(self) -> str:
        """All of it in one sentence."""
        text = f"{self.how}; the folder shows {self.runs} scored runs of {self.seeds} seeds"
        text += f" with {self.profiles} different settings" if self.profiles > 1 else ""
        return text + (f" and {self.points} points of a sweep" if self.points else "")


def count(case: Case) -> Looks:
    """Everything that was looked at, and how the claim was chosen from it."""
    looks = Looks(runs=sum(bool(run.results) for run in case.runs), claimed=len(case.headline.carried))
    scored = (run.settings for run in case.runs if run.results and run.settings)
    looks.profiles = len({tuple(sorted((k, v) for k, v in one.items() if not OWN.search(k))) for one in scored})
    seeds = {f"{run.seed.value:.0f}" for run in case.runs if run.seed and run.results}
    listed = {one.seed for one in case.claims.per_seed if one.val_bpb}
    looks.seeds = len(seeds | listed | set(_rows(case)))
    if case.headline.matched:
        _runs(case, looks)
    if not looks.seen:
        _listed(case, looks)
    if not looks.seen:
        _sweep(case, looks)
    _admitted(case, looks)
    return looks


def _runs(case: Case, looks: Looks) -> None:
    """The runs that carry the claim against others of the same configuration."""
    carried = case.headline.carried
    kinds = {one.metric.kind for one in carried}
    inside = {id(one.run) for one in carried}
    others: list[tuple[Run, Number]] = []
    unknown = 0
    for run in case.runs:
        metric = next((one for one in reversed(run.results) if one.kind in kinds), None)
        if id(run) in inside or metric is None:
            continue
        if same_configuration(run, carried[0].run):
            others.append((run, metric.bpb))
        else:
            unknown += 1
    how = {"mean": f"the mean of {len(carried)}", "seeds": f"{len(carried)} runs", "single": "one"}[case.headline.how]
    if not others:
        more = f", beside {unknown} runs of other or unknown settings" if unknown else ""
        looks.how = f"{how} of {len(carried)} comparable runs{more}"
        return
    total = len(carried) + len(others)
    worst = max(one.metric.bpb.value for one in carried)
    best = min(number.value for _, number in others)
    if worst > best:
        looks.how = f"{how} of {total} comparable runs, not the best ones"
        return
    chance = 1 / math.comb(total, len(carried))
    looks.how = f"{how} of {total} comparable runs, the best"
    what = "the best run" if len(carried) == 1 else f"the best {len(carried)}"
    mean = math.fsum([*(one.metric.bpb.value for one in carried), *(n.value for _, n in others)]) / total
    looks.seen.append(Seen("best_of_runs", f"the claim is {what} of {total} of one configuration, whose mean is "
                           f"{mean:.5f}; by chance {chance:.2g}"))  # fmt: skip
    looks.quotes += [*(one.metric.bpb for one in carried[:3]), *(number for _, number in others[:6])]


def same_configuration(one: Run, other: Run) -> bool:
    """Two runs that differ in their seed and in nothing that their logs tell; without dumps of settings, nothing is."""
    if not (one.settings and other.settings) or one.seed is None or other.seed is None:
        return False
    if one.seed.value == other.seed.value:
        return False
    codes = [{number.value for number in run.code.values()} for run in (one, other)]
    if codes[0] and codes[1] and not codes[0] & codes[1]:
        return False
    return all(other.settings.get(name, value) == value for name, value in one.settings.items()
               if not OWN.search(name))  # fmt: skip


def _listed(case: Case, looks: Looks) -> None:
    """Results by seed in submission.json or the README: is the claim the mean of the lowest of them, and not of all?"""
    claim = case.claims.val_bpb
    found = [one.val_bpb.number for one in case.claims.per_seed if one.val_bpb] or list(_rows(case).values())
    values = sorted(one.value for one in found)
    if claim is None or not 1 < len(values) <= _MOST_LISTED:
        return
    half = max(one.half for one in found)
    if fits(claim.number, math.fsum(values) / len(values), half):
        return
    for some in range(len(values) - 1, 0, -1):
        if not fits(claim.number, math.fsum(values[:some]) / some, half):
            continue
        # Only where no other choice has this mean: a rounded claim may fit several.
        ways = (math.fsum(way) / some for way in itertools.combinations(values, some))
        if sum(fits(claim.number, mean, half) for mean in ways) == 1:
            what = "the best" if some == 1 else f"the mean of the best {some}"
            looks.how = f"{what} of {len(values)} results by seed"
            mean = math.fsum(values) / len(values)
            note = f"the claim is {what} of {len(values)} seeds, whose mean is {mean:.5f}"
            looks.seen.append(Seen("best_of_runs", note))
            looks.quotes += [claim.number, *found]
            return


def _sweep(case: Case, looks: Looks) -> None:
    """Points of a sweep in the logs that carry the claim: is it the lowest of them, and called the best?"""
    for one in case.headline.carried:
        paper = case.papers.named(one.run.file)
        points = list(_points(paper)) if paper is not None else []
        looks.points = max(looks.points, len(points))
        value = one.metric.bpb
        if len(points) < 2 or not case.headline.matched:
            continue
        near = [point for point in points if abs(point.value - value.value) <= point.half + value.half]
        others = [point for point in points if point not in near]
        lower = [point for point in others if point.value < value.value]
        # A number that is printed twice was not chosen from anything.
        if near and others and not lower and _BEST.search(value.quote.text):
            count = 1 + len({point.value for point in others})
            looks.how = f"the lowest of {count} evaluations of one artifact"
            looks.seen.append(
                Seen("chosen_evaluation", f"the claimed {value.value:g} is called the best of {count} evaluations")
            )
            looks.quotes += [value, *others[:6]]
            return


def _points(paper: Paper) -> Iterator[Number]:
    """Scores of a sweep: on lines that say so, each place in the text once."""
    seen: set[str] = set()
    for index, raw in enumerate(paper.lines):
        if len(raw) > 400 or not (_SWEEP.search(raw) or (seen and " = " in raw)):
            continue
        line = bare(raw).strip()
        match = _BPB.search(line) or (_POINT.search(line) if "bpb" in line.lower() or " = " in line else None)
        if match is None or line in seen or len(seen) >= _MOST_POINTS:
            continue
        seen.add(line)
        written = match["bpb"]
        yield Number(float(written), 0.5 * 10.0 ** -len(written.partition(".")[2]), paper.quote(index))


def _rows(case: Case) -> dict[str, Number]:
    """Scores by seed in the README's first table of seeds: a column of whole numbers, and the last one of BPB."""
    found: dict[str, Number] = {}
    for paper in case.papers.prose[:1]:
        seeds = scores = -1
        for index, line in enumerate(paper.lines):
            if not line.lstrip().startswith("|") or len(line) > 1000:
                if found:
                    return found
                seeds = scores = -1
                continue
            cells = [cell.strip(" *`~") for cell in line.strip().strip("|").split("|")]
            if seeds < 0 or scores < 0:
                names = [cell.lower() for cell in cells]
                seeds = next((i for i, name in enumerate(names) if name in ("seed", "seeds")), -1)
                scores = max((i for i, name in enumerate(names) if "bpb" in name), default=-1)
            elif max(seeds, scores) < len(cells) and cells[seeds].isdigit() and len(cells[seeds]) < 12:
                if match := _POINT.fullmatch(cells[scores]):
                    half = 0.5 * 10.0 ** -len(match["bpb"].partition(".")[2])
                    found.setdefault(cells[seeds], Number(float(match["bpb"]), half, paper.quote(index)))
    return found


def _admitted(case: Case, looks: Looks) -> None:
    """What the author says of it."""
    for paper in case.papers.prose[:1]:
        for index, line in enumerate(paper.lines):
            if len(line) < 2000 and "best" in line.lower() and _BEST_OF.search(line):
                looks.how += f", and the README says: {paper.quote(index).text[:120]}"
                looks.quotes.append(paper.quote(index))
                if not looks.seen and case.headline.how == "single":
                    looks.seen.append(Seen("best_of_runs", "the README calls the claim the best of several runs"))
                return

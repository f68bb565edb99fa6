"""`harness backlog`: judge a queue of pull requests, and render it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import click
from rich.console import Console

from harness.batch import queue, summary
from harness.batch.judging import judge
from harness.batch.outcome import Outcome
from harness.cli.batch import How, PlayingOptions, lint_settings, run_settings
from harness.cli.options import (
    FILE,
    BoxOptions,
    ChecksOptions,
    DataOptions,
    JudgingOptions,
    RanksOptions,
    SeedOptions,
    SettingsOptions,
    refuse,
    takes,
)
from harness.errors import HarnessError, UsageError
from harness.files import write_atomically
from harness.folder import safe_name
from harness.gate.stages import SCRIPT_SMOKE, SMOKE
from harness.papers import linting
from harness.progress import Progress
from harness.record import Record
from harness.report import formats
from harness.report import queue as page
from harness.sandbox.linux import need_linux
from harness.text import plain

Tier = Literal["quick", "full"]
_MOST_PULLS = 100_000
#: What the quick tier leaves out, on the page and in the terminal.
_QUICK = "quick tier: papers and one evaluation; causality was not run, so that no score is VALID by it"
_LINT = "papers alone: nothing was run, so that no score is VALID by it"


@click.command("backlog")
@click.option("--repo", type=FILE, required=True, metavar="REPO", help="A git repository with the pull requests' refs.")
@click.option("--prs", "pulls", required=True, metavar="A-B,...", help="Numbers of pull requests, such as 1000-2200.")
@click.option("--open-only", type=FILE, metavar="FILE", help="Only numbers in this file: one a line, or JSON of `gh`.")
@click.option("--base", default="HEAD", show_default=True, metavar="REVISION", help="What they are to be merged into.")
@click.option("--refs", default="refs/pull/{}/head", show_default=True, metavar="PATTERN", help="Where heads are.")
@click.option("--tier", type=click.Choice(get_args(Tier)), default="full", show_default=True,
              help="quick: papers and one evaluation; full: the whole audit.")  # fmt: skip
@click.option("--lint", is_flag=True, help="Only what the folders claim (`harness lint`); nothing of theirs is run.")
@click.option("--out", type=FILE, default=Path("runs/backlog"), show_default=True, help="Records and page go here.")
@click.option("--bundle", type=FILE, metavar="DIR", help="Write the page there, too, with all that it links to.")
@click.option("--fresh", is_flag=True, help="Judge everything again, whatever an earlier run has left in --out.")
@takes(data=DataOptions, training=SeedOptions, judging=JudgingOptions, box=BoxOptions, playing=PlayingOptions)
def command(
    repo: Path,
    pulls: str,
    open_only: Path | None,
    base: str,
    refs: str,
    tier: Tier,
    lint: bool,
    out: Path,
    bundle: Path | None,
    fresh: bool,
    data: DataOptions,
    training: SeedOptions,
    judging: JudgingOptions,
    box: BoxOptions,
    playing: PlayingOptions,
) -> None:
    """Judge what a queue of pull requests adds, and render the queue as a page.

    What each adds or changes is found as the gate finds it, from the merge base; nothing is checked out. The same
    command goes on where it was stopped. OUT/index.html and --bundle are pages that can be published as they are:
    links are relative, and nothing is loaded from elsewhere.

    Exit codes: as of `harness batch`.
    """
    if bundle is not None and bundle.resolve() == out.resolve():
        raise UsageError("--bundle and --out are the same folder; the page is in --out anyway")
    refuse(["submitted", "pull"], "is for one submission; of a queue the refs say it")
    if lint:
        refuse(["tier"], "does not go with --lint, which runs nothing")
    need_linux("a batch")
    wanted = numbers(pulls)
    if open_only is not None:
        wanted &= opened(open_only)
    out.mkdir(parents=True, exist_ok=True)
    how = How(data, training, SettingsOptions(), RanksOptions(), _checks(tier, lint), judging, box)
    with Progress(quiet=box.quiet) as progress:
        progress.phase("find", f"what {len(wanted):,} pull requests add")
        found = queue.find(repo, refs, wanted, base, out / "sources", progress)
        progress.done(f"{len(found.items):,} submissions; {_bare(found)}")
        if not found.items:
            raise UsageError(f"no pull request among {pulls} adds or changes a submission in {repo}; {_bare(found)}")
        quick = () if lint or tier == "full" else ("--depth", "quick")
        settings = lint_settings(how) if lint else run_settings(found.items, progress, how, *quick)
        outcomes = judge(
            found.items, settings, out, playing.engine, progress, seconds=playing.item_timeout, fresh=fresh
        )
    left_out = _LINT if lint else _QUICK if tier == "quick" else ""
    summary.write(outcomes, out, {"ruleset": judging.ruleset})
    summary.show(outcomes, Console(), out)
    facts = page.Facts(judging.load().title, left_out, _bare(found), judging.ruleset)
    for target in (out, *([bundle] if bundle is not None else [])):
        render(outcomes, out, target, facts)
        click.echo(f"page      {plain(target / 'index.html', 4000)}")
    if left_out:
        click.echo(left_out)
    raise SystemExit(summary.worst(outcomes))


def _checks(tier: Tier, lint: bool) -> ChecksOptions:
    if lint or tier == "full":
        return ChecksOptions()
    return ChecksOptions(",".join(dict.fromkeys((*SMOKE, *SCRIPT_SMOKE, *linting.CHECKS))))


def _bare(found: queue.Found) -> str:
    told = [f"{len(found.without):,} add none"] if found.without else []
    told += [f"{len(found.absent):,} are not in the repository"] if found.absent else []
    return ", ".join(told) or "all add some"


def numbers(text: str) -> frozenset[int]:
    """Numbers of pull requests in a text such as "12,1000-2200".

    Raises:
        UsageError: something in it is neither a number nor a range.
    """
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*#?(\d{1,7})(?:\s*-\s*#?(\d{1,7}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise UsageError(f"--prs {text}: {part.strip()!r} is no number and no range; write 1000-2200 or 12,40-50")
        found |= set(range(first, min(last, first + _MOST_PULLS) + 1))
    return frozenset(found)


def opened(file: Path) -> frozenset[int]:
    """Numbers in a file: one at the beginning of each line, or JSON such as `gh pr list --json number` gives.

    Raises:
        UsageError: it cannot be read, or holds none.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}") from None
    try:
        body = json.loads(text)
    except ValueError:
        body = [match[1] for match in re.finditer(r"^\s*#?(\d{1,7})\b", text, re.M)]
    listed = body if isinstance(body, list) else [body]
    said = (str(one.get("number") if isinstance(one, dict) else one) for one in listed)
    found = frozenset(int(one) for one in said if one.isdecimal())
    if not found:
        raise UsageError(f"{file} holds no number of a pull request")
    return found


def render(outcomes: Sequence[Outcome], home: Path, target: Path, facts: page.Facts) -> None:
    """Write the queue as pages into `target`, with a report and the record of every row, and all rows as CSV.

    Args:
        outcomes: the rows.
        home: where the records of the run are.
        target: folder to be published.
        facts: what stands above the table.
    """
    (target / "reports").mkdir(parents=True, exist_ok=True)
    rows = [_row(outcome, link) for outcome, link in _reports(outcomes, home, target)]
    for name, text in page.render(rows, facts).items():
        write_atomically(target / name, text.encode())
    summary.frame(outcomes).to_csv(target / "queue.csv", index=False)


def _reports(outcomes: Sequence[Outcome], home: Path, target: Path) -> Iterator[tuple[Outcome, str | None]]:
    written: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.home is None or outcome.kind is None:
            yield outcome, None
            continue
        if outcome.home not in written:
            name = safe_name(f"{outcome.pull or 'x'}-{Path(outcome.home).name}")
            try:
                record = Record.load(home / outcome.home)
                formats.write("html", record, target / "reports" / f"{name}.html")
                write_atomically(target / "reports" / f"{name}.json", record.to_json().encode())
            except HarnessError:
                yield outcome, None
                continue
            written[outcome.home] = f"reports/{name}.html"
        yield outcome, written[outcome.home]


def _row(outcome: Outcome, link: str | None) -> page.Row:
    return page.Row(
        pull=outcome.pull,
        folder=outcome.label.rpartition(":")[2].rpartition("/")[2],
        author=outcome.author,
        claimed_bpb=outcome.claimed_bpb,
        answers={"score": outcome.score, "limits": outcome.limits, "claim": outcome.claim},
        outcome=outcome.outcome,
        reason=f"the same files as {outcome.same_as}" if outcome.same_as else outcome.headline,
        failed=outcome.failed,
        missing=outcome.missing,
        link=link,
    )

"""`harness gate`: judge a pull request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache as remembered
from pathlib import Path
from typing import get_args

import click

from harness.cli.options import FILE, BoxOptions, DataOptions, RulesetOptions, flag, names_of, refuse, takes
from harness.corpus.dataset import Dataset
from harness.files import write_atomically
from harness.gate import parts
from harness.gate.result import MAX_SUBMISSIONS, FailOn, GateResult, Tier
from harness.gate.run import Request, gate
from harness.gate.stages import Settings
from harness.progress import Progress
from harness.text import bpb, plain


@dataclass(frozen=True)
class _GateData(DataOptions):
    """As everywhere, but that a gate's `--cache` is that of results."""

    cache: Path | None = flag(
        "--data-cache", type=FILE, envvar="HARNESS_CACHE",
        help="Where prepared data is kept.  [default: ~/.cache/golf-harness]",
    )  # fmt: skip


@click.command("gate")
@click.option("--base", required=True, metavar="REVISION", help="What the pull request is to be merged into.")
@click.option("--head", required=True, metavar="REVISION", help="What it offers.")
@click.option("--repo", type=FILE, default=Path(), help="A git repository that has both.  [default: here]")
@click.option("--tier", type=click.Choice(get_args(Tier)), default="full", show_default=True,
              help="papers: what folders claim; quick: then one evaluation; full: the whole audit.")  # fmt: skip
@click.option("--fail-on", type=click.Choice(get_args(FailOn)), default="fail", show_default=True,
              help="The mildest outcome that is held against it; unruled is the strictest.")  # fmt: skip
@click.option("--out", type=FILE, default=Path("runs/gate"), show_default=True,
              help="gate.json, summary.md, and one folder of records for each submission.")  # fmt: skip
@click.option("--cache", "results", type=FILE, metavar="DIR",
              help="Take records of identical runs from there and keep new ones; in CI none is taken.")  # fmt: skip
@click.option("--only", multiple=True, metavar="FOLDER",
              help="Judge this folder alone, of those that have changed; repeat it.")  # fmt: skip
@click.option("--shards", type=click.IntRange(1, MAX_SUBMISSIONS), metavar="N",
              help="With --tier papers: deal what they leave open into N shards.json at most.")  # fmt: skip
@click.option("--join", type=FILE, metavar="DIR",
              help="Judge nothing: make one result of those in the folders of DIR, which jobs have left.")  # fmt: skip
@takes(rules=RulesetOptions, data=_GateData, box=BoxOptions)
def command(
    base: str,
    head: str,
    repo: Path,
    tier: Tier,
    fail_on: FailOn,
    out: Path,
    results: Path | None,
    only: tuple[str, ...],
    shards: int | None,
    join: Path | None,
    rules: RulesetOptions,
    data: DataOptions,
    box: BoxOptions,
) -> None:
    """Judge the submissions that a pull request adds or changes, cheapest stage first.

    Code and rules are those of the running harness, which should be installed from the base; only the submissions'
    files are taken from the head, out of git, and they run nowhere but in the box. The same command takes up an
    interrupted gate. --tier papers needs neither PyTorch nor a box, and says which folders are left to be run.

    Exit codes: 0 clean or undecided (gate.json's conclusion is then neutral), 1 a violation, 2 unusable input or a
    broken submission, 3 undecided or incomplete where --fail-on asks for it, 4 the harness failed, 130 interrupted.
    """
    if box.sandbox == "none":
        raise click.UsageError("--sandbox none: what strangers offer is judged in a box or not at all")
    _check(tier, join)
    request = Request(repo, base, head, out, tier=tier, fail_on=fail_on, cache=results, only=only)
    if join is not None:
        result = parts.join(request, rules.load(), join)
        _show(result, out)
        raise SystemExit(result.exit_code)
    with Progress(quiet=box.quiet) as progress:

        @remembered
        def prepared() -> Dataset:
            return data.prepare(progress)

        settings = Settings(
            data=prepared,
            ruleset=rules.load(),
            data_spec=data.data,
            sandbox=box.sandbox,
            timeout=box.timeout,
            memory_bytes=box.memory_bytes(),
        )
        result = gate(request, settings, progress)
    if shards is not None:
        write_atomically(out / "shards.json", f"{parts.to_json(parts.deal(result, shards))}\n".encode())
    _show(result, out)
    raise SystemExit(result.exit_code)


def _check(tier: Tier, join: Path | None) -> None:
    """Refuse options that nothing has a use for."""
    running = [name for name in names_of(_GateData, BoxOptions) if name not in ("quiet", "verbose")]
    if join is not None:
        refuse([*running, "results", "only", "shards"], "does not go with --join, which judges nothing")
    elif tier == "papers":
        refuse([*running, "results"], "does not go with --tier papers, which runs nothing")
    else:
        refuse(["shards"], "goes with --tier papers")


def _show(result: GateResult, out: Path) -> None:
    for raised in result.flags:
        click.echo(f"{'BLOCKS' if raised.blocks else 'note'}: {plain(raised.text, 1200)}")
    for one in result.submissions:
        score = f"{bpb(one.val_bpb)} BPB  " if one.val_bpb is not None else ""
        words = ", ".join(reply.answer for reply in one.answers) or one.verdict or ""
        click.echo(f"{words:36s} {plain(one.path, 160)}  {score}{plain(one.headline, 300)}")
    if result.submissions:
        click.echo(f"{result.conclusion}: {plain(result.reason, 400)}")
    if not result.submissions and result.complete:
        click.echo("no folder of a submission was added or changed; there is nothing to judge")
    elif result.tier != "full":
        click.echo(f"the {result.tier} tier does not look at: {', '.join(result.not_run)}")
    if not result.complete:
        click.echo(f"not finished: {plain(result.unfinished, 1200)}")
    click.echo(f"summary       {plain(out / 'summary.md', 4000)}")

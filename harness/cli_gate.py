"""`harness gate` judges a pull request; `harness precommit` lints what is about to be committed."""

from __future__ import annotations

from functools import cache as remembered
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console

from harness import rules
from harness.corpus import dataset as corpus
from harness.folder import is_adapter, open_folder
from harness.gate.paths import submission_of
from harness.gate.result import FailOn, GateResult, Tier
from harness.gate.run import Request
from harness.gate.run import gate as run_gate
from harness.gate.stages import Settings
from harness.progress import Progress
from harness.record import Status
from harness.report.text import bpb, plain
from harness.sandbox.box import LEVELS
from harness.scripts.evidence import table
from harness.scripts.evidence.linting import lint_all

_HELP = {"help_option_names": ["-h", "--help"]}


@click.command("gate", context_settings=_HELP)
@click.option("--base", required=True, metavar="REVISION", help="What the pull request is to be merged into.")
@click.option("--head", required=True, metavar="REVISION", help="What it offers.")
@click.option(
    "--repo", type=click.Path(path_type=Path), default=Path(), help="A git repository that has both.  [default: here]"
)
@click.option("--tier", type=click.Choice(get_args(Tier)), default="full", show_default=True,
              help="quick: papers, files, one evaluation; full: then the whole audit.")  # fmt: skip
@click.option("--fail-on", type=click.Choice(get_args(FailOn)), default="fail", show_default=True,
              help="The mildest outcome that is held against it; unruled is the strictest.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/gate"), show_default=True,
              help="gate.json, summary.md, and one folder of records for each submission.")  # fmt: skip
@click.option("--cache", type=click.Path(path_type=Path), metavar="DIR",
              help="Take records of identical runs from there and keep new ones; in CI none is taken.")  # fmt: skip
@click.option("--ruleset", default=rules.DEFAULT, show_default=True, metavar="NAME|FILE", help="Rules to judge by.")
@click.option("--data", default=corpus.DEFAULT, show_default=True, metavar="SPEC", help="For adapters, as for run.")
@click.option("--data-cache", type=click.Path(path_type=Path), envvar="HARNESS_CACHE",
              help="Where prepared data is kept.  [default: ~/.cache/golf-harness]")  # fmt: skip
@click.option("--timeout", type=float, metavar="SECONDS", help="Stop a box after this long.")
@click.option("--memory", type=float, default=4.0, show_default=True, metavar="GB", help="Memory of a box.")
@click.option("--sandbox", type=click.Choice(["auto", *LEVELS]), default="auto", help="Which box to use.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the result.")
def gate(
    base: str,
    head: str,
    repo: Path,
    tier: Tier,
    fail_on: FailOn,
    out: Path,
    cache: Path | None,
    ruleset: str,
    data: str,
    data_cache: Path | None,
    timeout: float | None,
    memory: float,
    sandbox: Any,
    quiet: bool,
) -> None:
    """Judge the submissions that a pull request adds or changes, cheapest stage first.

    Code and rules are those of the running harness, which should be installed from the base; only the submissions'
    files are taken from the head, out of git, and they run nowhere but in the box. The same command takes up an
    interrupted gate.

    Exit codes: 0 clean or undecided (gate.json's conclusion is then neutral), 1 a violation, 2 unusable input or a
    broken submission, 3 undecided or incomplete where --fail-on asks for it, 4 the harness failed, 130 interrupted.
    """
    with Progress(quiet=quiet) as progress:

        @remembered
        def prepared() -> corpus.Dataset:
            progress.phase("data", f"preparing {data}")
            found = corpus.prepare(data, cache=data_cache or corpus.default_cache(), notify=progress.note)
            progress.done(f"{found.train_tokens:,} training and {len(found.validation):,} validation tokens")
            return found

        settings = Settings(
            data=prepared,
            ruleset=rules.load(ruleset),
            data_spec=data,
            sandbox=sandbox,
            timeout=timeout,
            memory_bytes=int(memory * (1 << 30)),
        )
        request = Request(repo, base, head, out, tier=tier, fail_on=fail_on, cache=cache)
        result = run_gate(request, settings, progress)
    _show(result, out)
    raise SystemExit(result.exit_code)


def _show(result: GateResult, out: Path) -> None:
    for flag in result.flags:
        click.echo(f"{'BLOCKS' if flag.blocks else 'note'}: {plain(flag.text, 1200)}")
    for one in result.submissions:
        score = f"{bpb(one.val_bpb)} BPB  " if one.val_bpb is not None else ""
        words = ", ".join(reply.answer for reply in one.answers) or one.verdict or ""
        click.echo(f"{words:36s} {plain(one.path, 160)}  {score}{plain(one.headline, 300)}")
    if result.submissions:
        click.echo(f"{result.conclusion}: {plain(result.reason, 400)}")
    if not result.submissions:
        click.echo("no folder of a submission was added or changed; there is nothing to judge")
    elif result.tier == "quick":
        click.echo(f"the quick tier does not look at: {', '.join(result.not_run)}")
    click.echo(f"summary       {plain(out / 'summary.md', 4000)}")


@click.command("precommit", context_settings=_HELP)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--ruleset", default=rules.DEFAULT, show_default=True, metavar="NAME|FILE", help="Rules to judge by.")
def precommit(files: tuple[Path, ...], ruleset: str) -> None:
    """Lint the submissions that FILE... belong to; nothing is executed. For pre-commit.

    FILE... are relative to the repository's root, as pre-commit gives them. Exit code 1 for a FAIL, 2 for a folder that
    cannot be read; what is merely incomplete, as most work in progress is, is shown and passes.
    """
    names = sorted({name for file in files if (name := submission_of(file.as_posix())) is not None})
    present = [Path(name) for name in names if Path(name).is_dir()]
    for folder in present:
        if is_adapter(folder):
            open_folder(folder)
    console = Console()
    linted = lint_all(present, rules.load(ruleset))
    for one in linted:
        table.show(one, console)
    if any(one.verdict == Status.ERROR for one in linted):
        raise SystemExit(4)
    raise SystemExit(int(any(one.verdict == Status.FAIL for one in linted)))

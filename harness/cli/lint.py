"""`harness lint`: what folders claim, checked against themselves, without running anything of theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click
from rich.console import Console

from harness import rules
from harness.cli import completing
from harness.cli.options import FILE, RUNS, JudgingOptions, OutputOptions, takes
from harness.files import write_atomically
from harness.folder import safe_name
from harness.papers import significance, table
from harness.papers.collect import Case
from harness.papers.linting import lint, lint_all, record_of
from harness.papers.near import Neighbours
from harness.report import terminal


@click.command("lint")
@click.argument(
    "folders", nargs=-1, required=True, type=FILE, metavar="DIR...", shell_complete=completing.folders
)  # fmt: skip
@click.option(
    "--previous", type=FILE, metavar="DIR",
    help="Folder of the record to beat: significance is judged against its seeds.",
)  # fmt: skip
@click.option(
    "--against", type=FILE, metavar="REPO|DIR",
    help="Look for near copies: a git repository with all its pull requests, or a folder of folders.",
)  # fmt: skip
@takes(judging=JudgingOptions, output=OutputOptions)
def command(
    folders: tuple[Path, ...],
    previous: Path | None,
    against: Path | None,
    judging: JudgingOptions,
    output: OutputOptions,
) -> None:
    """Check what the folders DIR... claim: submission.json, logs, README and file sizes against each other.

    Nothing is executed. Give several folders to find copies among them. Nothing is written without --out; what
    --against has read of a repository is kept in runs/against, and the next time costs seconds.

    Exit codes: 0 the papers contradict nothing, 1 a rule is violated or a claim contradicted, 4 a check broke. What the
    papers do not show leaves the claim INCOMPLETE and exits with 0; with --fail-on incomplete, 3.
    """
    loaded = judging.load()
    linted = lint_all(folders, loaded, previous=_previous(previous, loaded), against=_against(against, judging.pull))
    how = {"strict": judging.strict, "fail_on_incomplete": judging.fail_on_incomplete}
    made = [record_of(one, loaded, **how) for one in linted]
    if output.out is not None:
        for index, (folder, name) in enumerate(zip(folders, _names(folders), strict=True)):
            home = output.out / name if len(made) > 1 else output.out
            home.mkdir(parents=True, exist_ok=True)
            made[index] = made[index].placed(home / "record.json", folder)
            write_atomically(home / "record.json", made[index].to_json().encode())
    if output.as_json:
        output.print_json(made)
    else:
        console = Console()
        for one, record in zip(linted, made, strict=True):
            table.show(one, console, record)
            if output.out is not None:
                terminal.replays(record, console)
        if len(linted) > 1:
            table.overview(linted, console)
    codes = {one.decision.exit_code(**how) for one in linted}
    raise SystemExit(next((code for code in (1, 4, 3) if code in codes), 0))


def _previous(folder: Path | None, ruleset: rules.Ruleset) -> tuple[str, Sequence[float]] | None:
    if folder is None:
        return None
    before = lint(folder, ruleset)
    scores = list(significance.scores(before.case).values())
    claimed = before.claims.val_bpb
    if not scores and claimed is None:
        raise click.UsageError(f"{folder} holds no score to beat")
    return folder.name, scores or [claimed.value if claimed else 0.0]


def _against(where: Path | None, pull: int | None) -> Callable[[Case], Neighbours] | None:
    if where is None:
        return None
    from harness.papers.backlog import open_backlog  # scipy and others, a second that nobody else should pay

    backlog = open_backlog(where, RUNS / "against", lambda text: click.echo(text, err=True))
    return lambda case: backlog.neighbours(case, pull)


def _names(folders: Sequence[Path]) -> list[str]:
    """One name for each folder, numbered where two are called the same."""
    names: list[str] = []
    for folder in folders:
        name, base = safe_name(folder.resolve().name), safe_name(folder.resolve().name)
        count = 1
        while name in names:
            count += 1
            name = f"{base}-{count}"
        names.append(name)
    return names

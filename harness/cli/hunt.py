"""`harness hunt`: the smallest leak."""

from __future__ import annotations

from pathlib import Path

import click

from harness.adapters.hunt import CHECKS, hunt
from harness.adapters.options import Options
from harness.adapters.training import promote, train
from harness.cli.options import FILE, RUNS, SUBMISSION, DataOptions, OwnBoxOptions, RulesetOptions, SeedOptions, takes
from harness.environment import need_run
from harness.folder import open_folder, safe_name
from harness.progress import Progress
from harness.record import exit_code_of
from harness.referee.search import hypothesis
from harness.report import view

#: CPU seconds for a box that nobody has given another limit: all examples are tried in one.
_PATIENCE = 3600.0


@click.command("hunt")
@click.argument("path", type=SUBMISSION)
@click.option("--check", type=click.Choice(CHECKS), default=CHECKS[0], show_default=True, help="What to hunt for.")
@click.option("--examples", type=int, default=200, show_default=True, metavar="N", help="Flips before giving up.")
@click.option("--out", type=FILE, metavar="DIR", help="Where the record goes.  [default: runs/NAME/hunt]")
@takes(data=DataOptions, training=SeedOptions, rules=RulesetOptions, box=OwnBoxOptions)
def command(
    path: Path,
    check: str,
    examples: int,
    out: Path | None,
    data: DataOptions,
    training: SeedOptions,
    rules: RulesetOptions,
    box: OwnBoxOptions,
) -> None:
    """Search the evaluation of the submission in PATH for the smallest leak, with Hypothesis.

    Finds a lie about the future that moves a row, and shrinks it: a single token, as early as possible, seen by a row
    as near as possible. The witness is made again in fresh boxes and written as a record for `harness replay`.

    Exit codes: 0 none found, 1 found, 3 the flips could not tell.
    """
    hypothesis()
    folder = open_folder(path)
    need_run()
    options = Options(
        scale=training.scale,
        ruleset=rules.load(),
        sandbox=box.level,
        timeout=box.timeout or _PATIENCE,
        memory_bytes=box.memory_bytes(),
        data_spec=data.data,
    )
    home = RUNS / safe_name(folder.name)
    target = out or home / "hunt"
    seed = training.seed
    with Progress(quiet=box.quiet) as progress:
        prepared = data.prepare(progress)
        seal_in = home if out is None else out
        seal_in.mkdir(parents=True, exist_ok=True)
        sealed = train(folder, prepared, seed, seal_in, options, progress)
        hunted = hunt(folder, prepared, sealed, seed, target, options, progress, examples=examples)
        promote(seal_in, sealed)
    click.echo(f"{hunted.status}: {hunted.headline}")
    if hunted.record:
        witness = hunted.record.findings[0].witness
        assert witness is not None
        old, new = witness.data["old_text"], witness.data["new_text"]
        click.echo(f"  {witness.data['context_before']!r} [{old!r} -> {new!r}] {witness.data['context_after']!r}")
        click.echo(f"  {target / 'report.html'}; again: {view.replay(hunted.record, hunted.record.findings[0])}")
    raise SystemExit(exit_code_of(hunted.status))

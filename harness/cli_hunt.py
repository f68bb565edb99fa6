"""One command: hunt for the smallest leak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness import rules
from harness.cli_proof import _FILE, _HELP, _box
from harness.corpus import dataset as corpus
from harness.folder import open_folder, safe_name
from harness.hunt import CHECKS
from harness.hunt import hunt as go_hunting
from harness.options import Options
from harness.progress import Progress
from harness.record import exit_code_of
from harness.referee.search import hypothesis
from harness.training import train


@click.command(context_settings=_HELP)
@click.argument("path", type=_FILE)
@click.option("--check", type=click.Choice(CHECKS), default=CHECKS[0], show_default=True, help="What to hunt for.")
@click.option("--examples", type=int, default=200, show_default=True, metavar="N", help="Flips before giving up.")
@click.option("--out", type=_FILE, metavar="DIR", help="Where the record goes.  [default: runs/NAME/hunt]")
@click.option("--data", default=corpus.DEFAULT, show_default=True, metavar="SPEC", help="As for `harness run`.")
@click.option("--scale", type=click.Choice(["smoke", "record"]), default="smoke", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of training, evaluation and search.")
@click.option("--ruleset", default=rules.DEFAULT, show_default=True, metavar="NAME|FILE", help="Rules to judge by.")
@click.option("--cache", type=_FILE, envvar="HARNESS_CACHE", help="Where prepared data is kept.")
@_box
def hunt(
    path: Path,
    check: str,
    examples: int,
    out: Path | None,
    data: str,
    scale: str,
    seed: int,
    ruleset: str,
    cache: Path | None,
    **box: Any,
) -> None:
    """Search the evaluation of the submission in PATH for the smallest leak, with Hypothesis.

    Finds a lie about the future that moves a row, and shrinks it: a single token, as early as possible, seen by a row
    as near as possible. The witness is made again in fresh boxes and written as a record for `harness replay`.

    Exit codes: 0 none found, 1 found, 3 the flips could not tell.
    """
    hypothesis()
    folder = open_folder(path)
    options = Options(
        scale=scale,
        ruleset=rules.load(ruleset),
        sandbox="none" if box["no_sandbox"] else box["sandbox"],
        timeout=box["timeout"] or 3600.0,  # paused processes live as long as the hunt
        memory_bytes=int(box["memory"] * (1 << 30)),
        data_spec=data,
    )
    home = Path("runs") / safe_name(folder.name)
    target = out or home / "hunt"
    with Progress(quiet=box["quiet"]) as progress:
        prepared = corpus.prepare(data, cache=cache or corpus.default_cache(), notify=progress.note)
        seal_in = home if out is None else out
        seal_in.mkdir(parents=True, exist_ok=True)
        sealed = train(folder, prepared, seed, seal_in, options, progress)
        hunted = go_hunting(folder, prepared, sealed, seed, target, options, progress, examples=examples)
    click.echo(f"{hunted.status}: {hunted.headline}")
    if hunted.record:
        witness = hunted.record.findings[0].witness
        assert witness is not None
        old, new = witness.data["old_text"], witness.data["new_text"]
        click.echo(f"  {witness.data['context_before']!r} [{old!r} -> {new!r}] {witness.data['context_after']!r}")
        click.echo(f"  {target / 'report.html'}; again: harness replay {target} {check}")
    raise SystemExit(exit_code_of(hunted.status))

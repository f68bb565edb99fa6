"""`harness precommit`: lint what is about to be committed."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from harness.cli.options import FILE, RulesetOptions, takes
from harness.folder import is_adapter, open_folder
from harness.papers import table
from harness.papers.linting import lint_all
from harness.paths import submission_of
from harness.record import Status


@click.command("precommit")
@click.argument("files", nargs=-1, type=FILE, metavar="FILE...")
@takes(rules=RulesetOptions)
def command(files: tuple[Path, ...], rules: RulesetOptions) -> None:
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
    linted = lint_all(present, rules.load())
    for one in linted:
        table.show(one, console)
    if any(one.verdict == Status.ERROR for one in linted):
        raise SystemExit(4)
    raise SystemExit(int(any(one.verdict == Status.FAIL for one in linted)))

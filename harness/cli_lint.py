"""`harness lint`: what folders claim, checked against themselves, without running anything of theirs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from harness import rules
from harness.folder import safe_name
from harness.scripts.evidence import records, table
from harness.scripts.evidence.linting import lint, lint_all
from harness.scripts.evidence.recording import record_of


@click.command("lint", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@click.option(
    "--ruleset", default=rules.DEFAULT, show_default=True, metavar="NAME|FILE", help="Dated rules to judge by."
)
@click.option(
    "--previous",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the record to beat: significance is judged against its seeds.",
)
@click.option("--strict", is_flag=True, help="Count UNRULED as a violation (exit code 1).")
@click.option("--fail-on", type=click.Choice(["incomplete"]), help="incomplete: a gap in the papers is exit code 3.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON on stdout.")
@click.option("--out", type=click.Path(path_type=Path), help="Write record.json there (several: one folder each).")
def lint_command(
    folders: tuple[Path, ...],
    ruleset: str,
    previous: Path | None,
    strict: bool,
    fail_on: str | None,
    as_json: bool,
    out: Path | None,
) -> None:
    """Check what the folders DIR... claim: submission.json, logs, README and file sizes against each other.

    Nothing is executed. Give several folders to find copies among them.

    Exit codes: 0 the papers contradict nothing, 1 a rule is violated or a claim contradicted, 4 a check broke. What the
    papers do not show leaves the claim INCOMPLETE and exits with 0; with --fail-on incomplete, 3.
    """
    loaded = rules.load(ruleset)
    linted = lint_all(folders, loaded, previous=_previous(previous, loaded))
    names = _names(folders)
    how = {"strict": strict, "fail_on_incomplete": fail_on == "incomplete"}
    if out is not None:
        for name, one in zip(names, linted, strict=True):
            home = out / name if len(linted) > 1 else out
            home.mkdir(parents=True, exist_ok=True)
            (home / "record.json").write_text(record_of(one, loaded, **how).to_json(), encoding="utf-8")
    if as_json:
        bodies = [record_of(one, loaded, **how).model_dump(mode="json", by_alias=True) for one in linted]
        click.echo(json.dumps(bodies[0] if len(bodies) == 1 else bodies, indent=2, allow_nan=False))
    else:
        console = Console()
        for one in linted:
            table.show(one, console)
        if len(linted) > 1:
            table.overview(linted, console)
    codes = {one.decision.exit_code(**how) for one in linted}
    raise SystemExit(next((code for code in (1, 4, 3) if code in codes), 0))


def _previous(folder: Path | None, ruleset: rules.Ruleset) -> tuple[str, Sequence[float]] | None:
    if folder is None:
        return None
    before = lint(folder, ruleset)
    scores = list(records.scores(before.case).values())
    claimed = before.claims.val_bpb
    if not scores and claimed is None:
        raise click.UsageError(f"{folder} holds no score to beat")
    return folder.name, scores or [claimed.value if claimed else 0.0]


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

"""`harness audit`: checks on folders with a submission.py, and on unmodified scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from harness.audit.check import SCORE, alone, named
from harness.audit.checks import CHECKS
from harness.cli.list import all_submissions
from harness.cli.options import (
    RUNS,
    SUBMISSION,
    AuditOptions,
    ChecksOptions,
    DataOptions,
    JudgingOptions,
    OutputOptions,
    OwnBoxOptions,
    RanksOptions,
    SettingsOptions,
    flag,
    given,
    names_of,
    refuse,
    takes,
)
from harness.cli.run import How, run_adapters, worst_code
from harness.folder import safe_name
from harness.progress import Progress
from harness.record import Record
from harness.report import terminal, view
from harness.scripts.auditing import audit_script
from harness.scripts.checks import judging as script_checks
from harness.scripts.collect import ScriptOptions
from harness.scripts.opening import is_script

#: A script's processes share two cores with the harness; more ranks than this come to nothing.
MOST_SCRIPT_RANKS = 4


@dataclass(frozen=True)
class ScriptOnlyOptions(SettingsOptions):
    """What only scripts have a use for."""

    explain: bool = flag(
        "--explain", default=False, is_flag=True, help="Quote the source lines of a script behind each FAIL."
    )


@click.command("audit")
@click.argument("paths", nargs=-1, type=SUBMISSION)
@click.option("--flip-test", is_flag=True, help="Only the flip tests for causal leakage, and their noise floor.")
@takes(
    output=OutputOptions,
    scripts=ScriptOnlyOptions,
    ranks=RanksOptions,
    data=DataOptions,
    auditing=AuditOptions,
    checks=ChecksOptions,
    judging=JudgingOptions,
    box=OwnBoxOptions,
)
def command(
    paths: tuple[Path, ...],
    flip_test: bool,
    output: OutputOptions,
    scripts: ScriptOnlyOptions,
    ranks: RanksOptions,
    data: DataOptions,
    auditing: AuditOptions,
    checks: ChecksOptions,
    judging: JudgingOptions,
    box: OwnBoxOptions,
) -> None:
    """Run checks on submissions; their sealed artifacts are taken where a run has left them.

    PATHS are folders of submissions, or the contest's own: a record folder or a train_gpt.py, which is run unmodified
    at a tiny size. Without PATHS, every folder under submissions/ is audited. Records and reports go to
    runs/NAME/audit, unless --out says otherwise.
    """
    if flip_test and given("checks"):
        raise click.UsageError("--flip-test and --checks both say which checks to run; give one of them")
    wanted = "determinism,causality" if flip_test else checks.checks
    chosen = list(paths) or all_submissions()
    unmodified = [path for path in chosen if is_script(path)]
    adapters = [path for path in chosen if path not in unmodified]
    if not unmodified:
        refuse(names_of(ScriptOnlyOptions), "is for scripts; none of PATHS is one")
    elif not adapters:
        shallow = auditing.depth in ("quick", "standard")  # a script's audit has no more than the standard one
        folders_only = [name for name in names_of(DataOptions, AuditOptions) if not (shallow and name == "depth")]
        refuse(folders_only, f"is for folders with a submission.py; {unmodified[0]} is a script")
    if unmodified and ranks.ranks > MOST_SCRIPT_RANKS:
        raise click.UsageError(f"--ranks {ranks.ranks}: a script is played by {MOST_SCRIPT_RANKS} processes at most")
    records: list[Record] = []
    if adapters:
        how = How(data, auditing, ranks, judging, box, output)
        records += run_adapters(adapters, how, wanted, below="audit")
    if unmodified:
        options = ScriptOptions(
            ruleset=judging.load(),
            env=dict(scripts.env),
            sandbox=box.level,
            strict=judging.strict,
            fail_on_incomplete=judging.fail_on_incomplete,
            timeout=box.timeout,
            memory_bytes=box.memory_bytes(ScriptOptions.memory_bytes),
            checks=None if wanted == "all" else known_checks(wanted),
            ranks=ranks.ranks,
            depth=auditing.depth,
        )
        several = len(chosen) > 1
        records += _audit_scripts(
            unmodified, options, output, several=several, explain=scripts.explain, quiet=box.quiet
        )
    if output.as_json:
        output.print_json(records)
    elif len(records) > 1:
        _overview(records)
    raise SystemExit(worst_code(records))


def known_checks(text: str) -> tuple[str, ...]:
    """Ids of checks, comma-separated in a text, or of those that `score` means; those of scripts are known too.

    Raises:
        UsageError: one is not known, or there is none.
    """
    if text == SCORE:
        of_papers = [name for name in alone(CHECKS) if name not in script_checks.CHECKS]
        return tuple(sorted([*of_papers, *alone(script_checks.CHECKS)]))
    return tuple(named(text, sorted({*CHECKS, *script_checks.CHECKS})))


def _audit_scripts(
    paths: Sequence[Path], options: ScriptOptions, output: OutputOptions, *, several: bool, explain: bool, quiet: bool
) -> list[Record]:
    """Audit scripts one after another, and print each result unless JSON is asked for.

    Args:
        paths: record folders, pull requests' folders or files.
        options: how each is audited.
        output: where results go; runs/NAME/audit by default.
        several: more than one thing is audited, so that `output.out` gets a folder for each.
        explain: print the source lines behind each FAIL.
        quiet: no progress.
    """
    records = []
    console = Console(stderr=output.as_json)
    for path in paths:
        name = safe_name(path.resolve().stem if path.is_file() else path.resolve().name)
        target = (output.out / name if several else output.out) if output.out else RUNS / name / "audit"
        with Progress(quiet=quiet) as progress:
            audited = audit_script(path, options, target, progress)
        records.append(audited.record)
        if output.as_json:
            continue
        terminal.summary(audited.record, console, report=target / "report.html")
        if explain:
            console.print()
            for line in audited.explanations or ("nothing failed; there is nothing to explain",):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
    return records


def _overview(records: Sequence[Record]) -> None:
    for record in records:
        score = f"{record.score.val_bpb:.4f} BPB" if record.score else "no score"
        words = ", ".join(answer.answer for _, answer in record.answers.items())
        click.echo(f"{words:36s} {record.submission.path:36s} {score}  {view.decisive(record).sentence}"[:200])

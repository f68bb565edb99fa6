"""`harness run`: from options to records, one for each submission and seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from harness.adapters.collect import run as run_pipeline
from harness.adapters.options import Options
from harness.adapters.sound import sound
from harness.audit.checks import select
from harness.audit.evidence import PreviousRecord
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
    takes,
)
from harness.environment import need_run
from harness.folder import Folder, open_folder, safe_name
from harness.progress import Progress
from harness.record import Record
from harness.report import terminal


@dataclasses.dataclass(frozen=True)
class How:
    """Everything that was said about how folders with a submission.py are run."""

    data: DataOptions
    auditing: AuditOptions
    ranks: RanksOptions
    judging: JudgingOptions
    box: OwnBoxOptions
    output: OutputOptions

    def options(self, checks: str) -> Options:
        """What the pipeline takes, for checks that are named "all" or by their ids.

        Raises:
            UsageError: a check, the rules or the record to beat are not known.
        """
        return Options(
            scale=self.auditing.scale,
            checks=select(checks),
            ruleset=self.judging.load(),
            sandbox=self.box.level,
            strict=self.judging.strict,
            fail_on_incomplete=self.judging.fail_on_incomplete,
            null_source=self.auditing.null_source,
            previous=_previous(self.auditing.previous),
            timeout=self.box.timeout,
            memory_bytes=self.box.memory_bytes(),
            data_spec=self.data.data,
            ranks=self.ranks.ranks,
            device=self.auditing.device,
            depth=self.auditing.depth,
            audit_seed=self.auditing.audit_seed,
        )


@click.command("run")
@click.argument("path", type=SUBMISSION)
@takes(
    output=OutputOptions,
    ranks=RanksOptions,
    data=DataOptions,
    auditing=AuditOptions,
    checks=ChecksOptions,
    judging=JudgingOptions,
    box=OwnBoxOptions,
)
def command(
    path: Path,
    output: OutputOptions,
    ranks: RanksOptions,
    data: DataOptions,
    auditing: AuditOptions,
    checks: ChecksOptions,
    judging: JudgingOptions,
    box: OwnBoxOptions,
) -> None:
    """Train, quantize, seal, score and audit the submission in the folder PATH.

    PATH may be example:NAME, a submission that ships with the harness (`harness list` shows them). Record and report
    go to runs/NAME, unless --out says otherwise.
    """
    records = run_adapters([path], How(data, auditing, ranks, judging, box, output), checks.checks)
    if output.as_json:
        output.print_json(records)
    raise SystemExit(worst_code(records))


def run_adapters(paths: Sequence[Path], how: How, checks: str, *, below: str = "") -> list[Record]:
    """Run folders with a submission.py one after another, print each result unless JSON is asked for.

    Args:
        paths: the folders.
        how: what was said on the command line.
        checks: "all" or ids, comma-separated.
        below: a folder below the run's own for record and report; the sealed artifact stays in the run's own.

    Raises:
        HarnessError: as the pipeline does.
    """
    folders = [open_folder(path) for path in paths]
    if how.auditing.artifact is not None and (len(folders) > 1 or len(how.auditing.seeds) > 1 or how.auditing.fresh):
        raise click.UsageError("--artifact is one file for one submission and one seed, and nothing is trained")
    for folder in folders:
        sound(folder)
    need_run()
    options = how.options(checks)
    records = []
    console = Console(stderr=how.output.as_json)
    seeds = how.auditing.seeds
    with Progress(quiet=how.box.quiet) as progress:
        prepared = how.data.prepare(progress)
        for folder in folders:
            options = dataclasses.replace(options, earlier=())
            for seed in seeds:
                home = _target(how.output.out, folder, seed, several=len(folders) > 1, seeds=len(seeds))
                if how.auditing.artifact is not None and how.output.out is None:
                    home = home / "given"  # beside what this folder has trained, not in its place
                target = home / below
                record = run_pipeline(
                    folder, prepared, seed, target, options, progress,
                    seal_in=home, fresh=how.auditing.fresh, artifact=how.auditing.artifact,
                )  # fmt: skip
                records.append(record)
                if record.score:  # the next seed's record judges significance over all seeds so far
                    options = dataclasses.replace(options, earlier=tuple(record.score.per_seed))
                if not how.output.as_json:
                    terminal.summary(record, console, report=target / "report.html")
    return records


def worst_code(records: Sequence[Record]) -> int:
    """The exit code of several records together."""
    codes = [record.exit_code for record in records]
    return next((code for code in (1, 4, 3) if code in codes), 0)


def _previous(path: Path | None) -> PreviousRecord | None:
    if path is None:
        return None
    record = Record.load(path)
    if record.score is None:
        raise click.UsageError(f"{path} holds no score to beat")
    seeds = [seed.val_bpb for seed in record.score.per_seed] or [record.score.val_bpb]
    return PreviousRecord(record.submission.name, seeds, record.score.tokens, record.score.bytes, record.scale)


def _target(out: Path | None, folder: Folder, seed: int, *, several: bool, seeds: int) -> Path:
    base = out or RUNS / safe_name(folder.name)
    if out and several:
        base = out / safe_name(folder.name)
    return base / f"seed-{seed}" if seeds > 1 else base

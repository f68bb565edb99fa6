"""The command line: parse, call, print. Every command ends in one of the exit codes of the record."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console

from harness import __version__, audit, rules
from harness.audit.evidence import PreviousRecord
from harness.cli_attest import attest
from harness.cli_batch import batch
from harness.cli_gate import gate, precommit
from harness.cli_hunt import hunt
from harness.cli_lint import lint_command
from harness.cli_proof import prove, unpack
from harness.cli_report import COMMANDS as REPORT_COMMANDS
from harness.cli_scripts import as_json_text, audit_scripts, is_script, replay_script_record
from harness.corpus import dataset as corpus
from harness.errors import HarnessError, SubmissionError
from harness.folder import Folder, open_folder, safe_name
from harness.options import Device, NullSource, Options
from harness.pipeline import run as run_pipeline
from harness.progress import Progress
from harness.record import Record
from harness.report import terminal
from harness.sandbox.box import Sandbox
from harness.scaffold import scaffold

SUBMISSIONS = Path("submissions")
RUNS = Path("runs")
INTERRUPTED = 130
MOST_RANKS = 16
_HELP = {"help_option_names": ["-h", "--help"]}


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that every command which evaluates something has."""
    for option in (
        click.option(
            "--data",
            default="stdlib",
            show_default=True,
            metavar="SPEC",
            help="stdlib, a folder in the contest's layout, a .jsonl file, or fineweb:sp1024[@SHARDS].",
        ),
        click.option(
            "--scale",
            type=click.Choice(["smoke", "record"]),
            default="smoke",
            show_default=True,
            help="smoke: two CPU cores, minutes; record: 8xH100.",
        ),
        click.option(
            "--seed",
            "seeds",
            type=int,
            multiple=True,
            default=(1,),
            show_default=True,
            help="Training seed; repeat it for several, one folder each below --out.",
        ),
        click.option("--checks", default="all", show_default=True, metavar="ID,...", help="Which checks to run."),
        click.option(
            "--ruleset", default=rules.DEFAULT, show_default=True, metavar="NAME|FILE", help="Dated rules to judge by."
        ),
        click.option(
            "--previous",
            type=click.Path(path_type=Path),
            metavar="RECORD",
            help="The record to beat: significance is judged against its seeds.",
        ),
        click.option(
            "--null-source",
            type=click.Choice(get_args(NullSource)),
            default="model",
            show_default=True,
            help="What the stream of known entropy is drawn from; model is the submission's own.",
        ),
        click.option(
            "--device", type=click.Choice(get_args(Device)), default="cpu", show_default=True, help="In the box."
        ),
        click.option("--strict", is_flag=True, help="Count UNRULED as a violation (exit code 1)."),
        click.option("--fresh", is_flag=True, help="Train again, even where a sealed artifact could be taken."),
        click.option("--timeout", type=float, metavar="SECONDS", help="Stop a box after this long."),
        click.option("--memory", type=float, default=4.0, show_default=True, metavar="GB", help="Memory of a box."),
        click.option("--sandbox", type=click.Choice(get_args(Sandbox)), default="auto", help="Which box to use."),
        click.option("--no-sandbox", is_flag=True, help="Run without isolation (your own code only)."),
        click.option(
            "--cache",
            type=click.Path(path_type=Path),
            default=None,
            envvar="HARNESS_CACHE",
            help="Where prepared data is kept.  [default: ~/.cache/golf-harness]",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the record as JSON on stdout."),
        click.option("--quiet", "-q", is_flag=True, help="No progress, only the result."),
    ):
        command = option(command)
    return command


@click.group(context_settings=_HELP, epilog="Example: harness run submissions/causal_slot")
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """A referee for language-model compression contests.

    Trains, quantizes, scores and audits a submission in a sandbox, and writes a record and an HTML report.

    Exit codes: 0 pass, 1 a rule is violated, 2 unusable input, 3 incomplete evidence, 4 the harness failed,
    130 interrupted.
    """


@cli.command(context_settings=_HELP)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where record and report go.  [default: runs/NAME]")
@click.option(
    "--nproc", type=click.IntRange(1, MOST_RANKS), default=1, show_default=True, help="Evaluate with so many ranks."
)
@_options
def run(path: Path, out: Path | None, nproc: int, as_json: bool, **settings: Any) -> None:
    """Train, quantize, seal, score and audit the submission in the folder PATH."""
    records = _run([path], out, ranks=nproc, as_json=as_json, **settings)
    raise SystemExit(_worst(records))


@cli.command("audit", context_settings=_HELP)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--flip-test", is_flag=True, help="Only the flip tests for causal leakage, and their noise floor.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where records and reports go.  [default: runs/NAME/audit]"
)
@click.option("--env", multiple=True, metavar="KEY=VALUE", help="Scripts: a setting to audit instead; repeat it.")
@click.option(
    "--ranks", type=click.IntRange(1, 4), default=1, show_default=True,
    help="Play them as so many processes, as torchrun would.",
)  # fmt: skip
@click.option("--explain", is_flag=True, help="Scripts: quote the source lines behind each FAIL.")
@_options
def audit_command(
    paths: tuple[Path, ...],
    out: Path | None,
    flip_test: bool,
    env: tuple[str, ...],
    explain: bool,
    ranks: int,
    as_json: bool,
    **settings: Any,
) -> None:
    """Run checks on submissions; their sealed artifacts are taken where a run has left them.

    PATHS are folders of submissions, or the contest's own: a record folder or a train_gpt.py, which is run unmodified
    at a tiny size. Without PATHS, every folder under submissions/ is audited.
    """
    if flip_test:
        settings["checks"] = "determinism,causality"
    wanted = list(paths) or _all_submissions()
    scripts = [path for path in wanted if is_script(path)]
    adapters = [path for path in wanted if path not in scripts]
    if (env or explain) and not scripts:
        raise click.UsageError("--env and --explain are for scripts; none of PATHS is one")
    records = _run(adapters, out, below="audit", ranks=ranks, as_json=as_json, **settings) if adapters else []
    if scripts:
        shared = {name: settings[name] for name in ("checks", "ruleset", "strict", "timeout", "memory", "quiet")}
        sandbox: Sandbox = "none" if settings["no_sandbox"] else settings["sandbox"]
        several = len(wanted) > 1
        made = audit_scripts(
            scripts,
            out,
            env=env,
            explain=explain,
            ranks=ranks,
            as_json=as_json,
            sandbox=sandbox,
            several=several,
            **shared,
        )
        records += made
        if as_json:
            click.echo(as_json_text(made))
    if len(records) > 1 and not as_json:
        _overview(records)
    raise SystemExit(_worst(records))


@cli.command(context_settings=_HELP)
@click.argument("record", type=click.Path(path_type=Path))
@click.argument("finding")
@click.option("--submission", type=click.Path(path_type=Path), help="The submission's folder, if it has moved.")
@click.option("--data", default=None, help="The data, if the record's own choice does not fit this machine.")
@click.option("--sandbox", type=click.Choice(get_args(Sandbox)), default="auto")
@click.option("--cache", type=click.Path(path_type=Path), default=None, envvar="HARNESS_CACHE")
@click.option("--quiet", "-q", is_flag=True)
def replay(
    record: Path,
    finding: str,
    submission: Path | None,
    data: str | None,
    sandbox: Sandbox,
    cache: Path | None,
    quiet: bool,
) -> None:
    """Reproduce the witness of FINDING from RECORD: same artifact, fresh boxes. Exit code 0 when it is seen again."""
    from harness.replay import replay as do_replay

    loaded = Record.load(record)
    if loaded.submission.kind == "script":
        path = submission or Path(loaded.submission.path)
        replay_script_record(loaded, finding, path, ruleset=loaded.ruleset.name, sandbox=sandbox, quiet=quiet)
    home = record if record.is_dir() else record.parent
    artifact = next(
        (p for p in (home / "artifact.bin", home.parent / "artifact.bin") if p.is_file()), home / "artifact.bin"
    )
    folder = open_folder(submission or Path(loaded.submission.path))
    spec = data or str(loaded.environment.get("data_spec", "stdlib"))
    with Progress(quiet=quiet) as progress:
        prepared = corpus.prepare(spec, cache=cache or corpus.default_cache(), notify=progress.note)
        options = Options(ruleset=rules.load(loaded.ruleset.name), sandbox=sandbox, data_spec=spec)
        result = do_replay(loaded, artifact, finding, folder, prepared, options, progress)
    click.echo(f"{'reproduced' if result.reproduced else 'NOT reproduced'}: {result.why}")
    raise SystemExit(0 if result.reproduced else 3)


@cli.command("list", context_settings=_HELP)
def list_command() -> None:
    """List the submissions under submissions/, and the checks."""
    for path in _all_submissions():
        try:
            folder = open_folder(path)
            click.echo(f"{path.as_posix():40s} {folder.metadata.name}")
        except HarnessError as error:
            click.echo(f"{path.as_posix():40s} broken: {error}")
    click.echo(f"\nchecks: {', '.join(audit.CHECKS)}\nrulesets: {', '.join(rules.available())}")


@cli.command(context_settings=_HELP)
@click.argument("name")
@click.option("--author", default="Your Name", show_default=True)
@click.option("--github-id", default="your-github-id", show_default=True)
def new(name: str, author: str, github_id: str) -> None:
    """Scaffold a working submission under submissions/NAME."""
    path = scaffold(SUBMISSIONS, name, author=author, github_id=github_id)
    click.echo(f"{path.as_posix()} is ready; try: harness run {path.as_posix()}")


@cli.command(context_settings=_HELP)
def doctor() -> None:
    """Say what this machine can do: sandbox, GPU, optional packages."""
    from harness.doctor import examine

    healthy = True
    for line in examine():
        click.echo(f"{'ok  ' if line.good else 'NO  ' if line.needed else '-   '} {line.name:22s} {line.text}")
        healthy &= line.good or not line.needed
    raise SystemExit(0 if healthy else 4)


cli.add_command(prove)
cli.add_command(unpack)
cli.add_command(lint_command)
cli.add_command(hunt)
cli.add_command(batch)
cli.add_command(gate)
cli.add_command(precommit)
cli.add_command(attest)
for view in REPORT_COMMANDS:
    cli.add_command(view)


def main() -> None:
    """Entry point: run the command, and turn every failure into one line and an exit code."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted; what was sealed is kept, and the same command takes it up again", INTERRUPTED)
    except KeyboardInterrupt:
        _fail("interrupted; what was sealed is kept, and the same command takes it up again", INTERRUPTED)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except SubmissionError as error:
        where = f"; what it printed is in {error.log}" if error.log and error.log.exists() else ""
        _fail(f"{error}{where}", error.exit_code)
    except HarnessError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(4) from None
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 4)
    except Exception as error:
        with tempfile.NamedTemporaryFile("w", prefix="harness-", suffix=".log", delete=False) as log:
            traceback.print_exc(file=log)
        _fail(f"internal error ({type(error).__name__}: {error}); the traceback is in {log.name}", 4)


def _run(
    paths: list[Path],
    out: Path | None,
    *,
    below: str = "",
    ranks: int = 1,
    as_json: bool,
    quiet: bool,
    seeds: tuple[int, ...],
    data: str,
    cache: Path | None,
    fresh: bool,
    no_sandbox: bool,
    sandbox: Sandbox,
    checks: str,
    ruleset: str,
    scale: str,
    strict: bool,
    null_source: NullSource,
    previous: Path | None,
    timeout: float | None,
    memory: float,
    device: Device,
) -> list[Record]:
    folders = [open_folder(path) for path in paths]
    options = Options(
        scale=scale,
        checks=audit.select(checks),
        ruleset=rules.load(ruleset),
        sandbox="none" if no_sandbox else sandbox,
        strict=strict,
        null_source=null_source,
        previous=_previous(previous),
        timeout=timeout,
        memory_bytes=int(memory * (1 << 30)),
        data_spec=data,
        ranks=ranks,
        device=device,
    )
    records = []
    console = Console(stderr=as_json)
    with Progress(quiet=quiet) as progress:
        progress.phase("data", f"preparing {data}")
        prepared = corpus.prepare(data, cache=cache or corpus.default_cache(), notify=progress.note)
        progress.done(f"{prepared.train_tokens:,} training and {len(prepared.validation):,} validation tokens")
        for folder in folders:
            options = dataclasses.replace(options, earlier=())
            for seed in seeds:
                home = _target(out, folder, seed, several=len(folders) > 1, seeds=len(seeds))
                target = home / below
                if fresh:
                    (home / "seal.json").unlink(missing_ok=True)
                record = run_pipeline(folder, prepared, seed, target, options, progress, seal_in=home)
                records.append(record)
                if record.score:  # the next seed's record judges significance over all seeds so far
                    options = dataclasses.replace(options, earlier=tuple(record.score.per_seed))
                if not as_json:
                    terminal.summary(records[-1], console, report=target / "report.html")
    if as_json:
        bodies = [record.model_dump(mode="json", by_alias=True) for record in records]
        click.echo(json.dumps(bodies[0] if len(bodies) == 1 else bodies, indent=2, allow_nan=False))
    return records


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


def _all_submissions() -> list[Path]:
    found = sorted(path for path in SUBMISSIONS.glob("*") if path.is_dir() and not path.name.startswith((".", "_")))
    if not found:
        raise click.ClickException("no folder submissions/ here; run this in a checkout, or name a submission")
    return found


def _overview(records: list[Record]) -> None:
    for record in records:
        score = f"{record.score.val_bpb:.4f} BPB" if record.score else "no score"
        worst = next((f.headline for f in record.findings if f.status == record.verdict), "")
        click.echo(f"{record.verdict:13s} {record.submission.path:36s} {score}  {worst}"[:200])


def _worst(records: list[Record]) -> int:
    codes = [record.exit_code for record in records]
    return next((code for code in (1, 4, 3) if code in codes), 0)


def _fail(message: str, code: int) -> None:
    click.echo(f"harness: {message}", err=True)
    raise SystemExit(code)

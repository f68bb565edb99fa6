"""The command line: parse, call, print. Every command ends in one of the exit codes of the record."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import get_args

import click

from harness import __version__, audit, interrupts, rules
from harness.cli_attest import attest
from harness.cli_batch import batch
from harness.cli_gate import gate, precommit
from harness.cli_hunt import hunt
from harness.cli_lint import lint_command
from harness.cli_proof import prove, unpack
from harness.cli_report import COMMANDS as REPORT_COMMANDS
from harness.cli_run import SUBMISSIONS, all_submissions, audit_command, run
from harness.cli_scripts import replay_script_record
from harness.corpus import dataset as corpus
from harness.errors import HarnessError, SubmissionError
from harness.folder import open_folder
from harness.options import Options
from harness.progress import Progress
from harness.record import Record
from harness.sandbox.box import Sandbox
from harness.scaffold import scaffold

_INTERRUPTED = "interrupted; what was sealed is kept, and the same command takes it up again"
_HELP = {"help_option_names": ["-h", "--help"]}


@click.group(context_settings=_HELP, epilog="Example: harness run submissions/causal_slot")
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """A referee for language-model compression contests.

    Trains, quantizes, scores and audits a submission in a sandbox, and writes a record and an HTML report.

    Exit codes: 0 pass, 1 a rule is violated, 2 unusable input, 3 incomplete evidence, 4 the harness failed,
    130 interrupted (143 by SIGTERM, 129 by SIGHUP).
    """


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
    for path in all_submissions():
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


cli.add_command(run)
cli.add_command(audit_command)
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
    interrupts.listen()
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort as abort:
        _fail(_INTERRUPTED, interrupts.exit_code(abort.__cause__))
    except KeyboardInterrupt as interrupt:
        _fail(_INTERRUPTED, interrupts.exit_code(interrupt))
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


def _fail(message: str, code: int) -> None:
    click.echo(f"harness: {message}", err=True)
    raise SystemExit(code)

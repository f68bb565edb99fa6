"""The command line: parse, call, print. Every command ends in one of the exit codes of the record.

One module a command, and each is imported when it is asked for: who wants the version does not wait for statistics.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from harness import __version__, interrupts
from harness.cli import completing
from harness.cli import config as configuration
from harness.errors import HarnessError, SubmissionError
from harness.text import meant

__all__ = ["COMMANDS", "cli", "main"]

#: Every command, in the order in which one comes to need them, with what `harness --help` says of it: the first
#: sentence of its own help. The module of this name holds it as `command`.
COMMANDS = {
    "run": "Train, quantize, seal, score and audit the submission in the folder PATH.",
    "audit": "Run checks on submissions; their sealed artifacts are taken where a run has left them.",
    "lint": "Check what the folders DIR... claim: submission.json, logs, README and file sizes against each other.",
    "replay": "Reproduce the witness of FINDING from RECORD: only the runs that show it, in fresh boxes.",
    "check": "Look in a model of your own for tokens that it uses before it predicts them.",
    "hunt": "Search the evaluation of the submission in PATH for the smallest leak, with Hypothesis.",
    "prove": "Compress a segment of the text with the submission in PATH, and decompress it in a fresh box.",
    "unpack": "Decompress the text in ARCHIVE, which `harness prove` has made.",
    "report": "Render RECORD, a record.json or the folder that holds one.",
    "compare": "Show the records FIRST and SECOND side by side: what differs, and whether one beats the other.",
    "board": "Build the leaderboard from RECORDS: files, or folders with a record.json or with records in them.",
    "batch": "Judge many submissions, each in a process of its own, and sum up, worst first.",
    "backlog": "Judge what a queue of pull requests adds, and render the queue as a page.",
    "gate": "Judge the submissions that a pull request adds or changes, cheapest stage first.",
    "init": "Write what a repository needs to be judged: the gate's workflows, or the hook before a commit.",
    "precommit": "Lint the submissions that FILE... belong to; nothing is executed.",
    "attest": "Write an unsigned in-toto Statement over the artifact, record and report in RUN_DIR.",
    "explain": "Explain a check, rule, practice, violation, reason or word.",
    "list": "List the submissions under submissions/, and the checks.",
    "new": "Scaffold a working submission under submissions/NAME.",
    "doctor": "Say what this machine can do: sandbox, GPU, optional packages.",
}

_INTERRUPTED = "interrupted; what was sealed is kept, and the same command takes it up again"


class _Group(click.Group):
    """A group that imports a command's module when the command is asked for, and not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        found = importlib.import_module(f"{__name__}.{cmd_name}").command
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            hint = meant(args[0], self.list_commands(ctx)) or "."
            raise click.UsageError(f"{error.message.rstrip('.')}{hint}", ctx) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        """Commands by the list, so that Tab waits for no command to be imported; then options."""
        found = [CompletionItem(name, help=said) for name, said in COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: harness run submissions/causal_slot",
)
@click.version_option(__version__, prog_name="harness")
@click.option(
    "--config", envvar=configuration.VARIABLE, metavar="FILE",
    help="Options that are repeated, as TOML; none for none.  [default: the nearest harness.toml, or [tool.harness]]",
)  # fmt: skip
@click.option(
    "--verbose", "-v", count=True,
    help="Say on stderr what is started and how it ended: every box; -vv: every question to git, too.",
)
@click.pass_context
def cli(ctx: click.Context, config: str | None, verbose: int) -> None:
    """A referee for language-model compression contests.

    Trains, quantizes, scores and audits a submission in a sandbox, and writes a record and an HTML report.

    Exit codes: 0 pass, 1 a rule is violated, 2 unusable input, 3 incomplete evidence, 4 the harness failed,
    130 interrupted (143 by SIGTERM, 129 by SIGHUP).
    """
    if verbose:
        from harness.progress import narrate  # rich, which the version does without

        narrate(verbose)
    if ctx.invoked_subcommand in COMMANDS and config != configuration.NONE:
        _configure(ctx, str(ctx.invoked_subcommand), config)


def _configure(ctx: click.Context, name: str, named: str | None) -> None:
    """Take a file's options as the defaults of the command that is about to run, and say which."""
    asks = {"--help", "-h"} & set(sys.argv[1:])
    found = (Path(named), configuration.read(Path(named)) or {}) if named else configuration.find(Path.cwd())
    command = cli.get_command(ctx, name)
    if found is None or command is None:
        return
    file = Path(os.path.relpath(found[0]))
    values = configuration.defaults(file, found[1], command, COMMANDS)
    if values and not asks:
        click.echo(f"options from {file}: {', '.join(sorted(values))}", err=True)
    ctx.default_map = {name: values}


def main() -> None:
    """Entry point: run the command, and turn every failure into one line and an exit code."""
    interrupts.listen()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a pipe on Windows takes 256 letters; the others are no failure
    if completing.VARIABLE in os.environ:
        completing.register()
    try:
        cli.main(prog_name="harness", standalone_mode=False)
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
        with tempfile.NamedTemporaryFile(
            "w", prefix="harness-", suffix=".log", delete=False, encoding="utf-8", errors="replace"
        ) as log:
            traceback.print_exc(file=log)
        if _verbose():
            traceback.print_exc()
        _fail(f"internal error ({type(error).__name__}: {error}); the traceback is in {log.name}", 4)


def _verbose() -> bool:
    import logging  # imported by most commands, and not by --version

    return logging.getLogger("harness").isEnabledFor(logging.INFO)


def _fail(message: str, code: int) -> None:
    click.echo(f"harness: {message}", err=True)
    raise SystemExit(code)

"""`harness check`: a model or scorer of one's own, for tokens that it uses before it predicts them."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import FILE, BoxOptions, OutputOptions, takes
from harness.environment import need_packages
from harness.files import write_atomically
from harness.report import formats
from harness.sandbox.linux import need_linux
from harness.sandbox.outcome import Limits

if TYPE_CHECKING:  # torch, without which this command says what is missing
    from harness.library.boxed import Played
    from harness.library.report import Report


@click.command("check")
@click.argument("target", metavar="MODULE:CALLABLE")
@click.option("--vocab-size", type=click.IntRange(3), metavar="N", help="Tokens.  [default: what its config says]")
@click.option("--length", type=click.IntRange(8), metavar="T", help="Tokens of a sequence.  [default: its context]")
@click.option("--scorer", is_flag=True, help="It takes one stream [T] and returns NLL [T-1] or rows [T-1, V].")
@click.option("--step", "steps", type=int, multiple=True, metavar="N", help="A window, stride, chunk or block size.")
@click.option("--bos", type=int, default=-1, metavar="ID", help="The token that starts a document.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of text and places.")
@click.option("--read", "readable", type=FILE, multiple=True, metavar="PATH", help="A file or folder that it may read.")
@click.option("--trusted", is_flag=True, help="Import it here, in this process, with all that this process may do.")
@takes(box=BoxOptions, output=OutputOptions)
def command(
    target: str,
    vocab_size: int | None,
    length: int | None,
    scorer: bool,
    steps: tuple[int, ...],
    bos: int,
    seed: int,
    readable: tuple[Path, ...],
    trusted: bool,
    box: BoxOptions,
    output: OutputOptions,
) -> None:
    """Look in a model of your own for tokens that it uses before it predicts them.

    MODULE is a module in the folder that you are in, or a .py file; CALLABLE a torch module, a class of them, a
    function from int tokens [B, T] to logits [B, T, V], or NAME() for one that makes it. It runs in a sandbox, which
    sees that folder and what --read names, and this process asks, compares and judges; with --trusted it is imported
    here.

    Exit codes: 0 nothing found, 1 a leak, with the token and the row in one sentence, 3 it could not be told.
    """
    if not trusted:
        need_linux("a box for your model")
    need_packages("torch")
    from harness.library.models import LONGEST, audit_model
    from harness.library.scorers import audit_scorer

    played: Played = "scorer" if scorer else "model"
    with _found(target, played, box, readable, trusted) as (model, level):
        vocab = vocab_size or getattr(model, "vocab_size", None)
        options: dict[str, Any] = {"steps": steps, "bos": bos, "seed": seed, "name": target, **level}
        known = length or getattr(model, "length", None)
        if isinstance(known, int):
            options["length"] = length or min(known, LONGEST)
        report = audit_scorer(model, vocab, **options) if scorer else audit_model(model, vocab, **options)
    record = report.record
    if output.out is not None:
        output.out.mkdir(parents=True, exist_ok=True)
        formats.save(record, output.out)
    _summarise(report)
    if output.as_json:
        output.print_json([record])
    else:
        click.echo(str(report))
        if output.out is not None:
            click.echo(f"{output.out / formats.VIEWS['html'].file}")
    raise SystemExit(record.exit_code)


@contextlib.contextmanager
def _found(
    target: str, played: Played, box: BoxOptions, readable: tuple[Path, ...], trusted: bool
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """What is checked, and the level of its box as an option of the audit."""
    if trusted:
        place, colon, name = target.rpartition(":")
        if not colon or not place or not name:
            raise click.UsageError(f"{target!r} is not written as MODULE:CALLABLE")
        sys.path.insert(0, os.getcwd())
        yield _here(target), {}
        return
    from harness.library.boxed import opened

    seconds = box.timeout or 600.0
    limits = Limits(memory_bytes=box.memory_bytes(), cpu_seconds=seconds, wall_seconds=max(300.0, 8 * seconds))
    with tempfile.TemporaryDirectory(prefix="harness-check-") as folder:
        log = Path(folder) / "check.log"
        try:
            with opened(target, played, read=readable, limits=limits, log=log, sandbox=box.sandbox) as model:
                yield model, {"level": model.level}
        except Exception as error:
            _keep(log, error)
            raise


def _keep(log: Path, error: Exception) -> None:
    """What was printed in the box outlives the folder that is about to go."""
    if getattr(error, "log", None) == log and log.is_file() and log.stat().st_size:
        with tempfile.NamedTemporaryFile(prefix="harness-check-", suffix=".log", delete=False) as kept:
            write_atomically(Path(kept.name), log.read_bytes())
        error.log = Path(kept.name)  # type: ignore[attr-defined]


def _here(target: str) -> Any:
    """The target in this process: somebody said that it is to be trusted."""
    from harness.library.calling import found

    try:
        return found(target)
    except (ImportError, AttributeError, OSError) as error:
        raise click.UsageError(f"{target}: {error}") from None


def _summarise(report: Report) -> None:
    """A job's summary on GitHub, where there is one."""
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:
            file.write(report.to_markdown())

"""Two commands: prove a score by decompression, and unpack such a proof."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from harness.archive import Archive
from harness.audit.proof import conclude
from harness.corpus import dataset as corpus
from harness.files import write_atomically
from harness.folder import open_folder, safe_name
from harness.options import Options
from harness.progress import Progress
from harness.proof import prove as make_proof
from harness.proof import unpack as decode_proof
from harness.record import exit_code_of
from harness.referee.coder import constriction
from harness.sandbox.box import Sandbox
from harness.training import train

_HELP = {"help_option_names": ["-h", "--help"]}
_FILE = click.Path(path_type=Path)


def _box(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of everything that runs in a box."""
    for option in (
        click.option("--timeout", type=float, metavar="SECONDS", help="Stop a box after this long."),
        click.option("--memory", type=float, default=4.0, show_default=True, metavar="GB", help="Memory of a box."),
        click.option("--sandbox", type=click.Choice(get_args(Sandbox)), default="auto", help="Which box to use."),
        click.option("--no-sandbox", is_flag=True, help="Run without isolation (your own code only)."),
        click.option("--quiet", "-q", is_flag=True, help="No progress, only the result."),
    ):
        command = option(command)
    return command


@click.command(context_settings=_HELP)
@click.argument("path", type=_FILE)
@click.option("--tokens", type=int, default=512, show_default=True, help="Length of the segment; each costs a batch.")
@click.option(
    "--begin", type=click.IntRange(min=0), default=0, show_default=True,
    help="Last position before the segment; the tokens up to it are given to the decoder and lie in the archive.",
)  # fmt: skip
@click.option("--out", type=_FILE, metavar="FILE", help="The archive to write.  [default: runs/NAME/proof.golf]")
@click.option("--data", default=corpus.DEFAULT, show_default=True, metavar="SPEC", help="As for `harness run`.")
@click.option("--scale", type=click.Choice(["smoke", "record"]), default="smoke", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Training seed.")
@click.option("--cache", type=_FILE, envvar="HARNESS_CACHE", help="Where prepared data is kept.")
@_box
def prove(
    path: Path,
    tokens: int,
    begin: int,
    out: Path | None,
    data: str,
    scale: str,
    seed: int,
    cache: Path | None,
    **box: Any,
) -> None:
    """Compress a segment of the text with the submission in PATH, and decompress it in a fresh box.

    The sealed artifact under runs/NAME is taken where a run has left one. Exit code 0: the text came back.
    """
    constriction()
    folder = open_folder(path)
    options, quiet = _options(box, scale=scale, data_spec=data)
    home = Path("runs") / safe_name(folder.name)
    target = out or home / "proof.golf"
    with Progress(quiet=quiet) as progress:
        prepared = corpus.prepare(data, cache=cache or corpus.default_cache(), notify=progress.note)
        home.mkdir(parents=True, exist_ok=True)
        sealed = train(folder, prepared, seed, home, options, progress)
        archive, result = make_proof(folder, prepared, sealed, seed, options, progress, tokens=tokens, begin=begin)
    status, headline = conclude(result)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, archive.to_bytes())
    click.echo(f"{status}: {headline}")
    click.echo(f"{target}  (artifact {sealed.path}, tokenizer {prepared.tokenizer.path})")
    raise SystemExit(exit_code_of(status))


@click.command(context_settings=_HELP)
@click.argument("archive", type=_FILE)
@click.option("--submission", type=_FILE, required=True, metavar="DIR", help="The submission's folder.")
@click.option("--artifact", type=_FILE, required=True, metavar="FILE", help="The sealed artifact.")
@click.option("--tokenizer", type=_FILE, required=True, metavar="FILE", help="The SentencePiece model.")
@click.option("--out", type=_FILE, metavar="FILE", help="Where the text goes.  [default: stdout]")
@_box
def unpack(archive: Path, submission: Path, artifact: Path, tokenizer: Path, out: Path | None, **box: Any) -> None:
    """Decompress the text in ARCHIVE, which `harness prove` has made. No validation data is needed.

    Exit code 0: the text that the archive was made from; 1: another one, or none.
    """
    loaded = Archive.load(archive)
    options, quiet = _options(box, scale=loaded.header.scale)
    with Progress(quiet=quiet) as progress:
        text = decode_proof(loaded, open_folder(submission), artifact, tokenizer, options, progress)
    if out is None:
        sys.stdout.buffer.write(text + b"\n")
        return
    write_atomically(out, text)
    click.echo(f"{out}: {len(text):,} bytes, from {len(loaded.code):,} bytes of code; the sha256 is the archive's")


def _options(box: dict[str, Any], **more: Any) -> tuple[Options, bool]:
    sandbox: Sandbox = "none" if box["no_sandbox"] else box["sandbox"]
    options = Options(sandbox=sandbox, timeout=box["timeout"], memory_bytes=int(box["memory"] * (1 << 30)), **more)
    return options, box["quiet"]

"""`harness unpack`: the text out of a proof."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.adapters.archive import Archive
from harness.adapters.options import Options
from harness.adapters.proof import unpack
from harness.cli.options import FILE, OwnBoxOptions, takes
from harness.environment import need_run
from harness.files import write_atomically
from harness.folder import open_folder
from harness.progress import Progress


@click.command("unpack")
@click.argument("archive", type=FILE)
@click.option("--submission", type=FILE, required=True, metavar="DIR", help="The submission's folder.")
@click.option("--artifact", type=FILE, required=True, metavar="FILE", help="The sealed artifact.")
@click.option("--tokenizer", type=FILE, required=True, metavar="FILE", help="The SentencePiece model.")
@click.option("--out", type=FILE, metavar="FILE", help="Where the text goes.  [default: stdout]")
@takes(box=OwnBoxOptions)
def command(
    archive: Path, submission: Path, artifact: Path, tokenizer: Path, out: Path | None, box: OwnBoxOptions
) -> None:
    """Decompress the text in ARCHIVE, which `harness prove` has made. No validation data is needed.

    Exit code 0: the text that the archive was made from; 1: another one, or none.
    """
    need_run()
    loaded = Archive.load(archive)
    options = Options(
        scale=loaded.header.scale, sandbox=box.level, timeout=box.timeout, memory_bytes=box.memory_bytes()
    )
    with Progress(quiet=box.quiet) as progress:
        text = unpack(loaded, open_folder(submission), artifact, tokenizer, options, progress)
    if out is None:
        sys.stdout.buffer.write(text + b"\n")
        return
    write_atomically(out, text)
    click.echo(f"{out}: {len(text):,} bytes, from {len(loaded.code):,} bytes of code; the sha256 is the archive's")

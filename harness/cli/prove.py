"""`harness prove`: a score shown by decompression."""

from __future__ import annotations

from pathlib import Path

import click

from harness.adapters.options import Options
from harness.adapters.proof import prove
from harness.adapters.training import promote, train
from harness.audit.proof import conclude
from harness.cli.options import FILE, RUNS, SUBMISSION, DataOptions, OwnBoxOptions, SeedOptions, takes
from harness.environment import need_run
from harness.files import write_atomically
from harness.folder import open_folder, safe_name
from harness.progress import Progress
from harness.record import exit_code_of


@click.command("prove")
@click.argument("path", type=SUBMISSION)
@click.option("--tokens", type=int, default=512, show_default=True, help="Length of the segment; each costs a batch.")
@click.option(
    "--begin", type=click.IntRange(min=0), default=0, show_default=True,
    help="Last position before the segment; the tokens up to it are given to the decoder and lie in the archive.",
)  # fmt: skip
@click.option("--out", type=FILE, metavar="FILE", help="The archive to write.  [default: runs/NAME/proof.golf]")
@takes(data=DataOptions, training=SeedOptions, box=OwnBoxOptions)
def command(
    path: Path,
    tokens: int,
    begin: int,
    out: Path | None,
    data: DataOptions,
    training: SeedOptions,
    box: OwnBoxOptions,
) -> None:
    """Compress a segment of the text with the submission in PATH, and decompress it in a fresh box.

    The sealed artifact under runs/NAME is taken where a run has left one. Exit code 0: the text came back.
    """
    folder = open_folder(path)
    need_run()
    options = Options(
        scale=training.scale,
        sandbox=box.level,
        timeout=box.timeout,
        memory_bytes=box.memory_bytes(),
        data_spec=data.data,
    )
    home = RUNS / safe_name(folder.name)
    target = out or home / "proof.golf"
    with Progress(quiet=box.quiet) as progress:
        prepared = data.prepare(progress)
        home.mkdir(parents=True, exist_ok=True)
        sealed = train(folder, prepared, training.seed, home, options, progress)
        archive, result = prove(folder, prepared, sealed, training.seed, options, progress, tokens=tokens, begin=begin)
        sealed = promote(home, sealed)
    status, headline = conclude(result)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, archive.to_bytes())
    click.echo(f"{status}: {headline}")
    click.echo(f"{target}  (artifact {sealed.path}, tokenizer {prepared.tokenizer.path})")
    raise SystemExit(exit_code_of(status))

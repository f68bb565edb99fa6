"""`harness run` and `harness audit`: from options to records, one for each submission and seed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console

from harness import audit, rules
from harness.audit.evidence import PreviousRecord
from harness.cli_scripts import as_json_text, audit_scripts, is_script
from harness.corpus import dataset as corpus
from harness.folder import Folder, open_folder, safe_name
from harness.options import Device, NullSource, Options
from harness.pipeline import run as run_pipeline
from harness.progress import Progress
from harness.record import Depth, Record
from harness.report import terminal, view
from harness.sandbox.box import Sandbox

SUBMISSIONS = Path("submissions")
RUNS = Path("runs")
MOST_RANKS = 16
_HELP = {"help_option_names": ["-h", "--help"]}


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that every command which evaluates something has."""
    for option in (
        click.option(
            "--data",
            default=corpus.DEFAULT,
            show_default=True,
            metavar="SPEC",
            help="commons, stdlib, a folder in the contest's layout, a .jsonl file, or fineweb:sp1024[@SHARDS].",
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
            "--depth",
            type=click.Choice(get_args(Depth)),
            default="standard",
            show_default=True,
            help="How much to try: replaced tokens whose own rows are compared, 24, 300 or 1,500; see docs/checks.md.",
        ),
        click.option(
            "--audit-seed",
            type=click.IntRange(min=0, max=2**63 - 1),
            default=None,
            metavar="N",
            help="Do an earlier audit again: the nonce in its record.  [default: drawn after the artifact is sealed]",
        ),
        click.option(
            "--device", type=click.Choice(get_args(Device)), default="cpu", show_default=True, help="In the box."
        ),
        click.option("--strict", is_flag=True, help="Count UNRULED as a violation (exit code 1)."),
        click.option(
            "--fail-on", type=click.Choice(["incomplete"]), help="incomplete: a gap in the papers is exit code 3."
        ),
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


@click.command(context_settings=_HELP)
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


@click.command("audit", context_settings=_HELP)
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
    wanted = list(paths) or all_submissions()
    scripts = [path for path in wanted if is_script(path)]
    adapters = [path for path in wanted if path not in scripts]
    if (env or explain) and not scripts:
        raise click.UsageError("--env and --explain are for scripts; none of PATHS is one")
    records = _run(adapters, out, below="audit", ranks=ranks, as_json=as_json, **settings) if adapters else []
    if scripts:
        names = ("checks", "ruleset", "strict", "fail_on", "timeout", "memory", "quiet")
        shared = {name: settings[name] for name in names}
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
    fail_on: str | None,
    null_source: NullSource,
    previous: Path | None,
    timeout: float | None,
    memory: float,
    device: Device,
    depth: Depth,
    audit_seed: int | None,
) -> list[Record]:
    folders = [open_folder(path) for path in paths]
    options = Options(
        scale=scale,
        checks=audit.select(checks),
        ruleset=rules.load(ruleset),
        sandbox="none" if no_sandbox else sandbox,
        strict=strict,
        fail_on_incomplete=fail_on == "incomplete",
        null_source=null_source,
        previous=_previous(previous),
        timeout=timeout,
        memory_bytes=int(memory * (1 << 30)),
        data_spec=data,
        ranks=ranks,
        device=device,
        depth=depth,
        audit_seed=audit_seed,
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


def all_submissions() -> list[Path]:
    """Folders under submissions/, by name.

    Raises:
        ClickException: there are none here.
    """
    found = sorted(path for path in SUBMISSIONS.glob("*") if path.is_dir() and not path.name.startswith((".", "_")))
    if not found:
        raise click.ClickException("no folder submissions/ here; run this in a checkout, or name a submission")
    return found


def _overview(records: list[Record]) -> None:
    for record in records:
        score = f"{record.score.val_bpb:.4f} BPB" if record.score else "no score"
        words = ", ".join(answer.answer for _, answer in record.answers.items())
        click.echo(f"{words:36s} {record.submission.path:36s} {score}  {view.decisive(record).sentence}"[:200])


def _worst(records: list[Record]) -> int:
    codes = [record.exit_code for record in records]
    return next((code for code in (1, 4, 3) if code in codes), 0)

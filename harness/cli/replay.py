"""`harness replay`: do a record's witness again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

import click

from harness import rules
from harness.adapters.options import Options
from harness.adapters.replay import replay
from harness.audit.replays import Again, Replay, wanted
from harness.cli import completing
from harness.cli.options import FILE, DataOptions, RulesetOptions, SandboxOptions, given, names_of, refuse, takes
from harness.environment import need_run
from harness.errors import UsageError
from harness.folder import open_folder
from harness.papers.replaying import replay_papers
from harness.progress import Progress
from harness.record import PLACES, Record
from harness.scripts.collect import ScriptOptions
from harness.scripts.replaying import replay_script

_KINDS = {"script": "a script", "evidence": "papers"}


@click.command("replay")
@click.argument("record", type=FILE)
@click.argument("finding", shell_complete=completing.findings)
@click.option("--submission", type=FILE, help="The submission, if it has moved.")
@takes(judging=RulesetOptions, data=DataOptions, box=SandboxOptions)
def command(
    record: Path,
    finding: str,
    submission: Path | None,
    judging: RulesetOptions,
    data: DataOptions,
    box: SandboxOptions,
) -> None:
    """Reproduce the witness of FINDING from RECORD: only the runs that show it, in fresh boxes.

    Rules, settings, limits and data are those that the record names.

    Exit codes: 0 seen again, 3 not seen again, 2 what cannot be replayed.
    """
    loaded = Record.load(record)
    file = record / "record.json" if record.is_dir() else record
    kind = loaded.submission.kind
    if kind != "adapter":
        refuse(names_of(DataOptions), f"is for folders with a submission.py; {record} is the record of {_KINDS[kind]}")
    if kind == "evidence":
        refuse(["sandbox"], f"is for what is run; {record} is the record of papers, and nothing of them is")
    if wanted(loaded, finding)[2] is not Again.PAPERS:
        need_run()
    ruleset = judging.load() if given("ruleset") else loaded.ruleset.load()
    path = submission or _submission(loaded, file)
    with Progress(quiet=box.quiet) as progress:
        seen = _replayed(loaded, file, finding, path, ruleset, data, box, progress)
    click.echo(f"{'reproduced' if seen.reproduced else 'NOT reproduced'}: {seen.why}")
    raise SystemExit(0 if seen.reproduced else 3)


def _replayed(
    loaded: Record,
    file: Path,
    finding: str,
    path: Path,
    ruleset: rules.Ruleset,
    data: DataOptions,
    box: SandboxOptions,
    progress: Progress,
) -> Replay:
    """The replay of whichever kind of submission it is."""
    if loaded.submission.kind == "evidence":
        return replay_papers(loaded, finding, path, ruleset)
    if loaded.submission.kind == "script":
        return replay_script(loaded, finding, path, ScriptOptions(ruleset=ruleset, sandbox=box.sandbox), progress)
    folder = open_folder(path)
    if not given("data"):
        data = DataOptions(_data(loaded, file), data.cache)
    how = Options(ruleset=ruleset, sandbox=box.sandbox, data_spec=data.data)
    return replay(loaded, _artifact(file), finding, folder, data.prepare(progress), how, progress)


def _submission(loaded: Record, file: Path) -> Path:
    """Where the judged submission is, as the record tells it.

    Raises:
        UsageError: it is not there.
    """
    told = _told(loaded).get("submission", loaded.submission.path)
    for root in _roots(loaded, file):
        if (root / told).exists():
            return root / told
    raise UsageError(f"no submission at {told}, where the record says it was judged; give it with --submission")


def _data(loaded: Record, file: Path) -> str:
    """The data's name, or where they are."""
    spec = str(loaded.environment.get("data_spec", "stdlib"))
    return next((str(root / spec) for root in _roots(loaded, file) if (root / spec).exists()), spec)


def _told(loaded: Record) -> dict[str, str]:
    places = loaded.environment.get(PLACES)
    return {str(k): str(v) for k, v in places.items()} if isinstance(places, dict) else {}


def _roots(loaded: Record, file: Path) -> Iterator[Path]:
    """Folders that the record's paths may be relative to: this one, and the one the record was made from."""
    yield Path()
    told = PurePath(_told(loaded).get("record", ""))
    if told.name and ".." not in told.parts and not told.is_absolute():
        yield Path(os.path.normpath(file.absolute().parent / os.path.relpath(".", told.parent)))


def _artifact(file: Path) -> Path:
    """Where the artifact of a record lies: beside it, or one folder up."""
    places = (file.parent / "artifact.bin", file.absolute().parent.parent / "artifact.bin")
    return next((place for place in places if place.is_file()), places[0])

"""`harness replay`: do a record's witness again."""

from __future__ import annotations

from pathlib import Path

import click

from harness import rules
from harness.adapters.options import Options
from harness.adapters.replay import replay
from harness.cli.options import FILE, DataOptions, SandboxOptions, given, names_of, refuse, takes
from harness.folder import open_folder
from harness.progress import Progress
from harness.record import Record
from harness.scripts.auditing import ScriptOptions
from harness.scripts.replaying import replay_script


@click.command("replay")
@click.argument("record", type=FILE)
@click.argument("finding")
@click.option("--submission", type=FILE, help="The submission's folder, if it has moved.")
@takes(data=DataOptions, box=SandboxOptions)
def command(record: Path, finding: str, submission: Path | None, data: DataOptions, box: SandboxOptions) -> None:
    """Reproduce the witness of FINDING from RECORD: same artifact, fresh boxes. Exit code 0 when it is seen again.

    Without --data, the data that the record names.
    """
    loaded = Record.load(record)
    path = submission or Path(loaded.submission.path)
    ruleset = rules.load(loaded.ruleset.name)
    with Progress(quiet=box.quiet) as progress:
        if loaded.submission.kind == "script":
            refuse(names_of(DataOptions), f"is for folders with a submission.py; {record} is the record of a script")
            options = ScriptOptions(ruleset=ruleset, sandbox=box.sandbox)
            reproduced, why = replay_script(loaded, finding, path, options, progress)
        else:
            if not given("data"):
                data = DataOptions(str(loaded.environment.get("data_spec", "stdlib")), data.cache)
            how = Options(ruleset=ruleset, sandbox=box.sandbox, data_spec=data.data)
            folder = open_folder(path)
            prepared = data.prepare(progress)
            result = replay(loaded, _artifact(record), finding, folder, prepared, how, progress)
            reproduced, why = result.reproduced, result.why
    click.echo(f"{'reproduced' if reproduced else 'NOT reproduced'}: {why}")
    raise SystemExit(0 if reproduced else 3)


def _artifact(record: Path) -> Path:
    """Where the artifact of a record lies: beside it, or one folder up."""
    home = record if record.is_dir() else record.parent
    places = (home / "artifact.bin", home.parent / "artifact.bin")
    return next((place for place in places if place.is_file()), places[0])

"""One command: judge a backlog."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console

from harness import audit, rules
from harness.batch import cluster, local, summary
from harness.batch.items import Item, listed
from harness.batch.judging import judge
from harness.batch.playing import Ended
from harness.batch.tasks import Settings, Task
from harness.cli_scripts import overrides
from harness.corpus import dataset as corpus
from harness.errors import UsageError
from harness.folder import is_adapter
from harness.progress import Progress
from harness.sandbox.box import Sandbox
from harness.scripts import judging

_FILE = click.Path(path_type=Path)
_DATA = corpus.DEFAULT
_MEMORY = 4.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("what", nargs=-1, required=True, metavar="LIST|PATH...")
@click.option("--out", type=_FILE, default=Path("runs/batch"), show_default=True, help="Records and summary go here.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Submissions at a time.  [default: processors / 2]")
@click.option(
    "--ray", "address", is_flag=False, flag_value=cluster.LOCAL, metavar="[ADDRESS]",
    help="Play on the Ray cluster at ADDRESS; without one, on a Ray of this machine.",
)  # fmt: skip
@click.option("--cpus", type=click.IntRange(1), default=2, show_default=True, help="Ray: processors per submission.")
@click.option("--item-timeout", type=float, default=3600.0, show_default=True, metavar="SECONDS",
              help="Stop a submission's judgement after this long.")  # fmt: skip
@click.option("--lint", is_flag=True, help="Only what the folders claim (`harness lint`); nothing of theirs is run.")
@click.option("--fresh", is_flag=True, help="Judge everything again, whatever an earlier batch has left in --out.")
@click.option("--checks", metavar="ID,...", help="Which checks to run.  [default: all]")
@click.option("--ruleset", default=rules.DEFAULT, show_default=True, metavar="NAME|FILE", help="Rules to judge by.")
@click.option("--strict", is_flag=True, help="Count UNRULED as a violation (exit code 1).")
@click.option("--fail-on", type=click.Choice(["incomplete"]), help="incomplete: a gap in the papers is exit code 3.")
@click.option("--data", default=_DATA, show_default=True, metavar="SPEC", help="Adapters: as for `harness run`.")
@click.option("--scale", type=click.Choice(["smoke", "record"]), default="smoke", show_default=True, help="Adapters.")
@click.option("--seed", type=int, default=1, show_default=True, help="Adapters: training seed.")
@click.option("--env", multiple=True, metavar="KEY=VALUE", help="Scripts: a setting to audit instead; repeat it.")
@click.option("--ranks", type=click.IntRange(1, 4), default=1, show_default=True, help="Scripts: processes.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Stop a box after this long.")
@click.option("--memory", type=float, default=_MEMORY, show_default=True, metavar="GB", help="Memory of a box.")
@click.option("--sandbox", type=click.Choice(get_args(Sandbox)), default="auto", help="Which box to use.")
@click.option("--cache", type=_FILE, envvar="HARNESS_CACHE", help="Where prepared data is kept.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the result.")
def batch(
    what: tuple[str, ...],
    out: Path,
    jobs: int | None,
    address: str | None,
    cpus: int,
    item_timeout: float,
    fresh: bool,
    quiet: bool,
    **how: Any,
) -> None:
    """Judge many submissions, each in a process of its own, and sum up, worst first.

    A LIST is a text file with one submission a line. A line, like a PATH, is a folder, a script, a folder of folders,
    a pattern, or REPOSITORY@REVISION:PATH (such as contest@refs/pull/1333/head:records/...). Folders with a
    submission.py are trained and judged as by `harness run`, contest scripts as by `harness audit`.

    What is judged is kept below --out by the hash of files, settings, rules and harness: the same command goes on
    where it was stopped, and judges only what has changed.

    Exit codes: the worst of the items: 1 a rule is violated, 4 the harness failed on one, 2 one is unusable,
    3 undecided, 0 none of these. An INCOMPLETE claim alone is 0, with --fail-on incomplete 3.
    """
    if address is not None and address != cluster.LOCAL and Path(address).exists():
        raise UsageError(f"--ray took {address} for an address; write --ray after it, or --ray=ADDRESS")
    out.mkdir(parents=True, exist_ok=True)
    with Progress(quiet=quiet) as progress:
        progress.phase("list")
        items = listed(what, out / "sources")
        settings = _settings(items, progress, **how)

        def engine(tasks: Sequence[Task]) -> Iterator[tuple[Task, Ended]]:
            if not tasks:
                return iter(())
            if address is not None:
                return cluster.play(tasks, address=address, cpus=cpus, jobs=jobs)
            return local.play(tasks, jobs=jobs or max(1, (os.cpu_count() or 2) // 2))

        outcomes = judge(items, settings, out, engine, progress, seconds=item_timeout, fresh=fresh)
    summary.write(outcomes, out, {"ruleset": how["ruleset"]})
    summary.show(outcomes, Console(), out)
    raise SystemExit(summary.worst(outcomes))


def _settings(
    items: Sequence[Item],
    progress: Progress,
    *,
    lint: bool,
    checks: str | None,
    ruleset: str,
    strict: bool,
    fail_on: str | None,
    data: str,
    scale: str,
    seed: int,
    env: tuple[str, ...],
    ranks: int,
    timeout: float | None,
    memory: float,
    sandbox: Sandbox,
    cache: Path | None,
) -> Settings:
    """Options as arguments for the items' commands; what is wrong with them is said once, before anything runs."""
    identity = {"ruleset": rules.load(ruleset).sha256}
    places = ("--ruleset", _absolute(ruleset))
    shared = [*(["--strict"] if strict else []), *(["--fail-on", fail_on] if fail_on else [])]
    if lint:
        return Settings(lint=tuple(shared), places=places, identity=identity)
    overrides(env)
    shared += ["--memory", str(memory), "--sandbox", sandbox]
    if timeout is not None:
        shared += ["--timeout", str(timeout)]
    scripts = [*shared, *(word for text in env for word in ("--env", text)), "--ranks", str(ranks)]
    spec = _absolute(data)
    adapters = [*shared, "--scale", scale, "--seed", str(seed)]
    if checks is not None:
        of_adapters, of_scripts = _checks(checks)
        adapters += ["--checks", of_adapters]
        scripts += ["--checks", of_scripts]
    if any(item.path is not None and is_adapter(item.path) for item in items):
        progress.phase("data", f"preparing {data}")  # once, not in every item
        prepared = corpus.prepare(spec, cache=cache or corpus.default_cache(), notify=progress.note)
        identity["data"] = prepared.sha256
    spot = ("--data", spec, *(() if cache is None else ("--cache", str(cache.absolute()))))
    return Settings(tuple(adapters), tuple(scripts), places=places, data=spot, identity=identity)


def _checks(text: str) -> tuple[str, str]:
    """Of the ids asked for those that adapters have, and those that scripts have."""
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    known = {*audit.CHECKS, *judging.CHECKS}
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise UsageError(f"no check {', '.join(unknown) or text!r}; known: {', '.join(sorted(known))}")
    return ",".join(name for name in wanted if name in audit.CHECKS), ",".join(wanted)


def _absolute(text: str) -> str:
    """A file's path that holds in any working folder; other text as it is."""
    return str(Path(text).absolute()) if Path(text).exists() else text

"""`harness batch`: judge a backlog."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from harness.audit.check import SCORE
from harness.audit.checks import CHECKS
from harness.batch import cluster, local, summary
from harness.batch.items import Item, listed
from harness.batch.judging import judge
from harness.batch.playing import Ended
from harness.batch.tasks import Settings, Task
from harness.cli.audit import MOST_SCRIPT_RANKS, known_checks
from harness.cli.options import (
    FILE,
    BoxOptions,
    ChecksOptions,
    DataOptions,
    JudgingOptions,
    RanksOptions,
    SeedOptions,
    SettingsOptions,
    flag,
    names_of,
    refuse,
    takes,
)
from harness.errors import UsageError
from harness.folder import is_adapter
from harness.progress import Progress
from harness.sandbox.linux import need_linux


@dataclass(frozen=True)
class How:
    """What was said about how each submission is judged."""

    data: DataOptions
    training: SeedOptions
    env: SettingsOptions
    ranks: RanksOptions
    checks: ChecksOptions
    judging: JudgingOptions
    box: BoxOptions


@dataclass(frozen=True)
class PlayingOptions:
    """Where and how many at a time, of everything that judges many submissions."""

    jobs: int | None = flag(
        "--jobs", type=click.IntRange(1), metavar="N", help="Submissions at a time.  [default: processors / 2]"
    )
    address: str | None = flag(
        "--ray", is_flag=False, flag_value=cluster.LOCAL, metavar="[ADDRESS]",
        help="Play on the Ray cluster at ADDRESS; without one, on a Ray of this machine.",
    )  # fmt: skip
    cpus: int = flag(
        "--cpus", type=click.IntRange(1), default=2, show_default=True, help="Ray: processors per submission."
    )
    item_timeout: float = flag(
        "--item-timeout", type=click.FloatRange(0, min_open=True), default=3600.0, show_default=True,
        metavar="SECONDS", help="Stop a submission's judgement after this long.",
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.address is not None and self.address != cluster.LOCAL and Path(self.address).exists():
            raise UsageError(f"--ray took {self.address} for an address; write --ray after it, or --ray=ADDRESS")

    def engine(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Ended]]:
        """Play tasks on the Ray cluster at the address, or in processes of this machine."""
        if not tasks:
            return iter(())
        if self.address is not None:
            return cluster.play(tasks, address=self.address, cpus=self.cpus, jobs=self.jobs)
        return local.play(tasks, jobs=self.jobs or max(1, (os.cpu_count() or 2) // 2))


@click.command("batch")
@click.argument("what", nargs=-1, required=True, metavar="LIST|PATH...")
@click.option("--out", type=FILE, default=Path("runs/batch"), show_default=True, help="Records and summary go here.")
@click.option("--lint", is_flag=True, help="Only what the folders claim (`harness lint`); nothing of theirs is run.")
@click.option("--fresh", is_flag=True, help="Judge everything again, whatever an earlier batch has left in --out.")
@takes(
    data=DataOptions,
    training=SeedOptions,
    env=SettingsOptions,
    ranks=RanksOptions,
    checks=ChecksOptions,
    judging=JudgingOptions,
    box=BoxOptions,
    playing=PlayingOptions,
)
def command(
    what: tuple[str, ...],
    out: Path,
    lint: bool,
    fresh: bool,
    data: DataOptions,
    training: SeedOptions,
    env: SettingsOptions,
    ranks: RanksOptions,
    checks: ChecksOptions,
    judging: JudgingOptions,
    box: BoxOptions,
    playing: PlayingOptions,
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
    refuse(["submitted", "pull"], "is for one submission; in a batch a revision such as refs/pull/N/head says it")
    need_linux("a batch")
    out.mkdir(parents=True, exist_ok=True)
    how = How(data, training, env, ranks, checks, judging, box)
    with Progress(quiet=box.quiet) as progress:
        progress.phase("list", "submissions")
        items = listed(what, out / "sources", progress.update)
        settings = lint_settings(how) if lint else run_settings(items, progress, how)
        outcomes = judge(items, settings, out, playing.engine, progress, seconds=playing.item_timeout, fresh=fresh)
    summary.write(outcomes, out, {"ruleset": judging.ruleset})
    summary.show(outcomes, Console(), out)
    raise SystemExit(summary.worst(outcomes))


def lint_settings(how: How) -> Settings:
    """Options of `harness lint`; those that say how something is run are refused."""
    unused = names_of(DataOptions, SeedOptions, SettingsOptions, RanksOptions, ChecksOptions, BoxOptions)
    refuse([name for name in unused if name not in ("quiet", "verbose")], "does not go with --lint, which runs nothing")
    return Settings(lint=_strict(how), places=_rules(how.judging), identity=_identity(how.judging))


def run_settings(items: Sequence[Item], progress: Progress, how: How, *more: str) -> Settings:
    """Options as arguments for the items' commands; what is wrong with them is said once, before anything runs.

    `more` are further arguments that both commands take.
    """
    identity = _identity(how.judging)
    of_adapters = any(item.path is not None and is_adapter(item.path) for item in items)
    of_scripts = any(item.path is not None and not is_adapter(item.path) for item in items)
    if not of_adapters:
        refuse(names_of(DataOptions, SeedOptions), "is for folders with a submission.py; none is listed")
    if not of_scripts:
        refuse(names_of(SettingsOptions), "is for scripts; none is listed")
    elif how.ranks.ranks > MOST_SCRIPT_RANKS:
        raise UsageError(f"--ranks {how.ranks.ranks}: a script is played by {MOST_SCRIPT_RANKS} processes at most")
    shared = [*more, *_strict(how), "--sandbox", how.box.sandbox, "--ranks", str(how.ranks.ranks)]
    if how.box.memory is not None:
        shared += ["--memory", str(how.box.memory)]
    if how.box.timeout is not None:
        shared += ["--timeout", str(how.box.timeout)]
    scripts = [*shared, *(word for name, value in how.env.env for word in ("--env", f"{name}={value}"))]
    adapters = [*shared, "--scale", how.training.scale, "--seed", str(how.training.seed)]
    if how.checks.checks == SCORE:
        adapters, scripts = [*adapters, "--checks", SCORE], [*scripts, "--checks", SCORE]
    elif how.checks.checks != "all":
        wanted = known_checks(how.checks.checks)
        adapters += ["--checks", ",".join(name for name in wanted if name in CHECKS)]
        scripts += ["--checks", ",".join(wanted)]
    if of_adapters:  # prepared once, not in every item
        identity["data"] = how.data.prepare(progress).sha256
    cache = how.data.cache
    return Settings(
        tuple(adapters),
        tuple(scripts),
        places=_rules(how.judging),
        data=("--data", _absolute(how.data.data), *(() if cache is None else ("--cache", str(cache.absolute())))),
        identity=identity,
    )


def _rules(judging: JudgingOptions) -> tuple[str, ...]:
    """Where rules and rulings are, as arguments."""
    files = (word for path in judging.rulings for word in ("--rulings", _absolute(str(path))))
    return ("--ruleset", _absolute(judging.ruleset), *files)


def _identity(judging: JudgingOptions) -> dict[str, str]:
    loaded = judging.load()
    return {"ruleset": loaded.sha256, "rulings": loaded.rulings_sha256}


def _strict(how: How) -> tuple[str, ...]:
    words = ("--strict",) if how.judging.strict else ()
    return (*words, "--fail-on", how.judging.fail_on) if how.judging.fail_on else words


def _absolute(text: str) -> str:
    """A file's path that holds in any working folder; other text as it is."""
    return str(Path(text).absolute()) if Path(text).exists() else text

"""Groups of options, each flag declared once: a frozen dataclass whose fields say how they are spelled.

A command takes groups by `@takes(box=BoxOptions, data=DataOptions)` and gets one object for each. What a group can be
turned into (limits, rules, data) is a method of it.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from harness import rules
from harness.adapters.scaffold import example
from harness.cli import completing
from harness.cli.completing import EXAMPLE
from harness.corpus import commons
from harness.progress import Progress, narrate
from harness.record import Depth, Device, NullSource, Record
from harness.rules import rulings
from harness.sandbox.outcome import Limits, Sandbox

if TYPE_CHECKING:
    from harness.corpus.dataset import Dataset  # numpy, which most commands do without

FILE = click.Path(path_type=Path)


class _Submission(click.Path):
    """A folder or script; `example:NAME` is a submission that ships with the harness."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value.startswith(EXAMPLE):
            return example(value.removeprefix(EXAMPLE))
        return super().convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[Any]]:  # fmt: skip
        return completing.submissions(incomplete)


SUBMISSION = _Submission(path_type=Path)
#: Where records go that nobody named a place for.
RUNS = Path("runs")
#: Where a checkout keeps its submissions.
SUBMISSIONS = Path("submissions")

_OPTION = "option"
_Result = TypeVar("_Result")


def flag(*names: str, default: Any = None, **attributes: Any) -> Any:
    """A field of a group: `names` and `attributes` as for `click.option`, which calls the parameter as the field."""
    return dataclasses.field(default=default, metadata={_OPTION: (names, {"default": default, **attributes})})


def takes(**groups: type[Any]) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Declare the flags of groups on a command, and hand it one object for each by the keyword that is given here."""

    def decorate(command: Callable[..., _Result]) -> Callable[..., _Result]:
        @functools.wraps(command)
        def called(*args: Any, **values: Any) -> _Result:
            parts = {
                name: group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
                for name, group in groups.items()
            }
            return command(*args, **values, **parts)

        wrapped: Callable[..., _Result] = called
        for group in reversed(groups.values()):
            for field in reversed(dataclasses.fields(group)):
                names, attributes = field.metadata[_OPTION]
                wrapped = click.option(*names, field.name, **attributes)(wrapped)
        return wrapped

    return decorate


def given(name: str) -> bool:
    """Whether the parameter of the running command was written on its command line."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def refuse(names: Sequence[str], reason: str) -> None:
    """Refuse parameters that were written although nothing here has a use for them.

    Raises:
        UsageError: one was; in one line its flag, what it is for, and the reason.
    """
    for option in click.get_current_context().command.params:
        if option.name in names and given(str(option.name)):
            purpose = re.split(r"[:;.]", str(getattr(option, "help", "")), maxsplit=1)[0]
            raise click.UsageError(f"{option.opts[0]} ({purpose[:1].lower()}{purpose[1:]}) {reason}")


def names_of(*groups: type[Any]) -> list[str]:
    """The parameters that groups declare."""
    return [field.name for group in groups for field in dataclasses.fields(group)]


def _narrate(_: click.Context, __: click.Parameter, level: int) -> int:
    if level:
        narrate(level)
    return level


@dataclass(frozen=True)
class SandboxOptions:
    """Which box, and how much is said while it works."""

    sandbox: Sandbox = flag("--sandbox", default="auto", type=click.Choice(get_args(Sandbox)), help="Which box to use.")
    quiet: bool = flag("--quiet", "-q", default=False, is_flag=True, help="No progress, only the result.")
    verbose: int = flag(
        "--verbose", "-v", default=0, count=True, callback=_narrate,
        help="Say on stderr how every box ended; -vv: what git is asked, too.",
    )  # fmt: skip


@dataclass(frozen=True)
class BoxOptions(SandboxOptions):
    """Limits of a box: CPU seconds of all its processes, None for what its task has by default; memory in GB, likewise.

    By the clock a box may take 8 times as long, and 5 minutes at least: a busy machine changes no verdict.
    """

    timeout: float | None = flag(
        "--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
        help="CPU seconds of one box, all its processes together.  [default: 600 for each thread or rank, at record "
        "scale 3600; 300 for one run of a script]",
    )  # fmt: skip
    memory: float | None = flag(
        "--memory", type=click.FloatRange(0, min_open=True), metavar="GB",
        help="Memory of a box.  [default: 4.0; of a script's: 3.0]",
    )  # fmt: skip

    def memory_bytes(self, default: int = Limits.memory_bytes) -> int:
        """Bytes of memory, `default` where nothing was said."""
        return default if self.memory is None else int(self.memory * (1 << 30))


@dataclass(frozen=True)
class OwnBoxOptions(BoxOptions):
    """A box that somebody who runs his own code may leave out."""

    no_sandbox: bool = flag(
        "--no-sandbox", default=False, is_flag=True, help="Run without isolation (your own code only)."
    )

    @property
    def level(self) -> Sandbox:
        """The box to use, "none" for none."""
        return "none" if self.no_sandbox else self.sandbox


@dataclass(frozen=True)
class DataOptions:
    """What adapters are trained and scored on, and where it is kept once prepared."""

    data: str = flag(
        "--data", default=commons.NAME, show_default=True, metavar="SPEC", shell_complete=completing.data,
        help="Text to train and score on: commons, stdlib, a folder in the contest's layout, a .jsonl file, or "
        "fineweb:sp1024[@SHARDS].",
    )  # fmt: skip
    cache: Path | None = flag(
        "--cache", type=FILE, metavar="DIR", envvar="HARNESS_CACHE",
        help="Where prepared data is kept.  [default: ~/.cache/golf-harness]",
    )  # fmt: skip

    def prepare(self, progress: Progress) -> Dataset:
        """The data, prepared or taken from the cache.

        Raises:
            UsageError: they are not there or not usable.
        """
        from harness.corpus.dataset import default_cache, prepare

        progress.phase("data", f"preparing {self.data}")
        prepared = prepare(self.data, cache=self.cache or default_cache(), notify=progress.note)
        progress.done(f"{prepared.train_tokens:,} training and {len(prepared.validation):,} validation tokens")
        return prepared


@dataclass(frozen=True)
class ScaleOptions:
    """How large a training and an evaluation are."""

    scale: str = flag(
        "--scale", default="smoke", show_default=True, type=click.Choice(["smoke", "record"]),
        help="Size of model and training: smoke is two CPU cores, minutes; record is 8xH100.",
    )  # fmt: skip


@dataclass(frozen=True)
class SeedOptions(ScaleOptions):
    """One training."""

    seed: int = flag("--seed", default=1, show_default=True, type=int, help="Training seed; of a hunt also its own.")


@dataclass(frozen=True)
class RulesetOptions:
    """By which rules."""

    ruleset: str = flag(
        "--ruleset", default=rules.DEFAULT, show_default=True, metavar="NAME|FILE", shell_complete=completing.rulesets,
        help="Dated rules to judge by.",
    )  # fmt: skip

    def load(self) -> rules.Ruleset:
        """The rules.

        Raises:
            UsageError: there are none of this name, or the file is not usable.
        """
        return rules.load(self.ruleset)


@dataclass(frozen=True)
class RulingsOptions(RulesetOptions):
    """By which rules and rulings, and what is said of the submission that these may be about."""

    rulings: tuple[Path, ...] = flag(
        "--rulings", default=(), type=FILE, multiple=True, metavar="FILE",
        help="Rulings of your own beside the shipped ones; repeat it. See docs/rulings.md.",
    )  # fmt: skip
    submitted: datetime.datetime | None = flag(
        "--submitted", type=click.DateTime(["%Y-%m-%d"]), metavar="YYYY-MM-DD",
        help="Day of the submission, from which rulings count.  [default: as its files say]",
    )  # fmt: skip
    pull: int | None = flag(
        "--pull", type=click.IntRange(1), metavar="N",
        help="Pull request that the submission is: rulings on it and waivers for it count.",
    )  # fmt: skip

    def load(self) -> rules.Ruleset:
        """The rules with the rulings, for the submission as it was described.

        Raises:
            UsageError: there are no rules of this name, or a file is not usable.
        """
        loaded = rules.load(self.ruleset, self.rulings)
        date, said = (self.submitted.date(), "the command line") if self.submitted else (None, "")
        return loaded.of(rulings.Submitted(date=date, said=said, pull=self.pull))


@dataclass(frozen=True)
class JudgingOptions(RulingsOptions):
    """By which rules, and how strictly."""

    strict: bool = flag("--strict", default=False, is_flag=True, help="Count UNRULED as a violation (exit code 1).")
    fail_on: str | None = flag(
        "--fail-on", type=click.Choice(["incomplete"]), help="incomplete: a gap in the papers is exit code 3."
    )

    @property
    def fail_on_incomplete(self) -> bool:
        """Whether a gap in the papers is held against the exit code."""
        return self.fail_on == "incomplete"


@dataclass(frozen=True)
class RanksOptions:
    """How many processes play an evaluation together."""

    ranks: int = flag(
        "--ranks", "--nproc", default=1, show_default=True, type=click.IntRange(1, 16), metavar="N",
        help="Processes that play an evaluation together, as under torchrun; of a script 4 at most.",
    )  # fmt: skip


@dataclass(frozen=True)
class ChecksOptions:
    """What is looked at."""

    checks: str = flag(
        "--checks", default="all", show_default=True, metavar="ID,...", shell_complete=completing.checks,
        help="Which checks to run; score: those that ask for nothing but one evaluation, for a quick look.",
    )  # fmt: skip


@dataclass(frozen=True)
class AuditOptions(ScaleOptions):
    """How a folder with a submission.py is trained and audited; a script has a use for `depth` alone."""

    seeds: tuple[int, ...] = flag(
        "--seed", default=(1,), show_default=True, type=int, multiple=True,
        help="Training seed; repeat it for several, one folder each below --out.",
    )  # fmt: skip
    device: Device = flag(
        "--device", default="cpu", show_default=True, type=click.Choice(get_args(Device)),
        help="What the submission computes on, in the box.",
    )  # fmt: skip
    fresh: bool = flag(
        "--fresh", default=False, is_flag=True, help="Train again, even where a sealed artifact could be taken."
    )
    artifact: Path | None = flag(
        "--artifact", type=FILE, metavar="FILE",
        help="Score this artifact instead of training one; records go to runs/NAME/given.",
    )  # fmt: skip
    previous: Path | None = flag(
        "--previous", type=FILE, metavar="RECORD", help="The record to beat: significance is judged against its seeds."
    )
    null_source: NullSource = flag(
        "--null-source", default="model", show_default=True, type=click.Choice(get_args(NullSource)),
        help="What the stream of known entropy is drawn from; model is the submission's own.",
    )  # fmt: skip
    depth: Depth = flag(
        "--depth", default="standard", show_default=True, type=click.Choice(get_args(Depth)),
        help="How much to try: replaced tokens whose own rows are compared, 24, 300 or 1,500; see docs/checks.md. Of a "
        "script, quick leaves the pass at the submitted sequence length out.",
    )  # fmt: skip
    audit_seed: int | None = flag(
        "--audit-seed", type=click.IntRange(min=0, max=2**63 - 1), metavar="N",
        help="Do an earlier audit again: the nonce in its record.  [default: drawn after the artifact is sealed]",
    )  # fmt: skip


def _pairs(context: click.Context, option: click.Parameter, texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """NAME=VALUE texts as pairs."""
    found = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"{text}: write it as NAME=VALUE, such as --env TTT_ENABLED=1", context, option)
        found.append((name, value))
    return tuple(found)


@dataclass(frozen=True)
class SettingsOptions:
    """Settings of a script that are audited instead of those submitted."""

    env: tuple[tuple[str, str], ...] = flag(
        "--env", default=(), callback=_pairs, multiple=True, metavar="KEY=VALUE",
        help="Setting of a script to audit instead of the submitted one; repeat it.",
    )  # fmt: skip


@dataclass(frozen=True)
class OutputOptions:
    """Where records go: None is the command's own choice; and whether stdout gets them as JSON."""

    out: Path | None = flag(
        "--out", type=FILE, help="Where records and reports go; one folder each if they are several."
    )
    as_json: bool = flag("--json", default=False, is_flag=True, help="Print the records as JSON on stdout.")

    def print_json(self, records: Sequence[Record]) -> None:
        """Print a list of records, however many there are."""
        bodies = [json.loads(record.to_json()) for record in records]
        click.echo(json.dumps(bodies, indent=2, allow_nan=False))

"""From an unmodified train_gpt.py to evidence: opened, its settings read, made small, and run as often as needed.

The base run comes first, because it says where flips are worth making. The forked run and the run on changed text then
go side by side, one core each.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness import rules
from harness.audit.check import Need
from harness.papers.collect import Case
from harness.progress import Progress
from harness.record import Depth
from harness.rules import Ruleset
from harness.sandbox.box import Level, Limits, Sandbox
from harness.scripts import asleep, atlength, boundaries, choices, exact, flips, recurring, stubs
from harness.scripts.checks import causality, judging
from harness.scripts.checks.evidence import AtLength, ScriptEvidence, ScriptNull
from harness.scripts.checks.followed import why_not
from harness.scripts.lengthened import lengthen
from harness.scripts.opening import Script, open_script
from harness.scripts.play import streams as data
from harness.scripts.play.running import LIMITS, Playable, Played, Runner
from harness.scripts.play.streams import Streams, byte_level, miscounts, sidecar_bytes, true_bytes
from harness.scripts.scale import REAL_TOKENS, Tiny, tiny
from harness.scripts.settings import claimed
from harness.scripts.settings.submitted import Settings, read_settings
from harness.scripts.settings.unstated import Unstated, unstated
from harness.scripts.trace import passes, reading
from harness.scripts.trace.observed import Ints, Observed
from harness.scripts.trace.reading import ScriptTrace

#: How often the base run is made again to wake what slept.
_ROUNDS = 3


@dataclass(frozen=True)
class ScriptOptions:
    """How a script is to be audited.

    Attributes:
        ruleset: the rules to judge by.
        env: settings to audit instead of the submitted ones.
        sandbox: level of the box.
        strict: UNRULED counts as a violation in the exit code.
        fail_on_incomplete: papers that say too little are exit code 3.
        timeout: CPU seconds that one run may take, and each rank of it; one with forks in it gets more for each.
        wall_seconds: how long a run may take by the clock, see `harness.sandbox.outcome.Limits`.
        memory_bytes: that one run may take.
        seed: of the streams and of the choice of flips.
        tokens: length of the validation stream, where the vocabulary has room for it.
        checks: ids of checks; None for all.
        ranks: processes that play the script together, as torchrun would start them.
        most: what may be gathered beyond the base run; None for all that the checks ask for.
        depth: "quick" leaves the pass at the submitted sequence length out; the others are one.
    """

    ruleset: Ruleset = field(default_factory=rules.load)
    env: Mapping[str, str] = field(default_factory=dict)
    sandbox: Sandbox = "auto"
    strict: bool = False
    fail_on_incomplete: bool = False
    timeout: float | None = None
    wall_seconds: float | None = None
    memory_bytes: int = LIMITS.memory_bytes
    seed: int = 0
    tokens: int = 2049
    checks: tuple[str, ...] | None = None
    ranks: int = 1
    most: frozenset[Need] | None = None
    depth: Depth = "standard"

    @property
    def needs(self) -> frozenset[Need]:
        """What is gathered beyond the base run."""
        asked = judging.needs(self.checks)
        if self.depth == "quick":
            asked -= {Need.AT_LENGTH}
        return asked if self.most is None else asked & self.most

    @property
    def limits(self) -> Limits:
        """Limits of one run."""
        return dataclasses.replace(
            LIMITS,
            cpu_seconds=self.timeout or LIMITS.cpu_seconds,
            memory_bytes=self.memory_bytes,
            wall_seconds=self.wall_seconds,
        )


@dataclass(frozen=True)
class Prepared:
    """A script that is read and made small, before anything of it is run.

    Attributes:
        script: what was opened.
        case: what stands beside it; None for a bare file.
        settings: submitted ones, or those asked for.
        small: what of them was made small.
        runner: plays it.
        text: what its source says of branches.
        plan: of the pass at the submitted sequence length; None where the tiny runs have that.
        unstated: switches that nobody states and the folder speaks of; None where nothing stands beside the script.
        ruleset: the rules, with the rulings that count for this submission.
    """

    script: Script
    case: Case | None
    settings: Settings
    small: Tiny
    runner: Runner
    text: asleep.Text
    plan: atlength.Plan | None = None
    unstated: Sequence[Unstated] | None = None
    ruleset: Ruleset = field(default_factory=rules.load)


def prepare(
    path: Path, options: ScriptOptions, logs: Path, progress: Progress, turned: Mapping[str, str] | None = None
) -> Prepared:
    """Read the script at `path` and make it small; what its runs will print goes into `logs`.

    Where the folder puts a model on shards of a larger vocabulary, it is run once to see whether it takes them: most
    scripts break on the first token, and what they say of their data was not so.

    Args:
        path: of the script or its folder.
        options: how it is to be audited.
        logs: where what it prints is kept.
        progress: told what happens.
        turned: switches that have another value than anybody states.

    Raises:
        UsageError: there is no script, or an override names a setting that it does not read.
        SandboxError: it is in a wrapper that only running opens, and no box can be built here.
    """
    script = open_script(path, stubs.opener(options.sandbox, logs))
    case = claimed.case_of(script, options.ruleset)
    claim = claimed.find(case)
    settings = read_settings(script, {**options.env, **(turned or {})}, claim)
    small = tiny(settings, script)

    def runner_of(small: Tiny) -> Runner:
        shards = {"model_size": small.vocab_size} if small.shards else {}
        return Runner(
            _playable(script, small),
            data.make(small.shards or small.vocab_size, options.tokens, seed=options.seed, **shards),
            options.limits,
            options.sandbox,
            logs,
            options.ranks,
            claimed=frozenset() if options.env else claim.labels,
            progress=progress,
        )

    runner = runner_of(small)
    if small.shards and not _takes(runner):
        small = tiny(settings, script, mismatched=False)
        runner = runner_of(small)
    text, long = _text(script, settings, small, runner.streams), lengthen(settings, small)
    plan = None
    if long is not None:
        window = max(real for _, real in small.lengths)
        plan = atlength.plan(window, long, runner, lambda made: _playable(script, made), options.seed)
    asked = None if case is None or turned else unstated(script, settings, case, claim)
    judging_by = options.ruleset.judging() if case is None else case.ruleset
    return Prepared(script, case, settings, small, runner, text, plan, asked, judging_by)


def _takes(runner: Runner) -> bool:
    """Whether the script scores shards of a larger vocabulary than its model's."""
    runner.progress.note("a run on shards of a larger vocabulary than the model's, as the folder names them")
    runner.logs.mkdir(parents=True, exist_ok=True)
    played = runner.play("shards", runner.streams)
    return bool(passes.find(played.observed, len(runner.streams.validation)))


def _text(script: Script, settings: Settings, small: Tiny, streams: Streams) -> asleep.Text:
    sources = {script.entry: script.source, **{name: script.text(name) for name in script.side if name.endswith(".py")}}
    return asleep.Text(
        sources,
        {read.attribute: read for read in reversed(settings.reads) if read.attribute},
        {name: item.value for name, item in settings.values.items()},
        frozenset([*(item.name for item in small.changed), *(key.partition(":")[2] for key in small.constants)]),
        small.lengths,
        (len(streams.validation) - 1, REAL_TOKENS),
    )


def sources_of(script: Script) -> dict[str, str]:
    """Text of the entry as it ran, and of the other Python files, by base name."""
    found = {Path(name).name: script.text(name) for name in script.side if name.endswith(".py")}
    return {**found, Path(script.entry).name: script.source}


def _playable(script: Script, small: Tiny) -> Playable:
    return Playable(
        entry=script.entry,
        source=script.source,
        folder=script.kept(),
        side=script.side,
        env=small.env,
        stages=small.stages or ({},),
        argv=small.argv,
        paths={name: role for name, (role, _) in small.paths.items()},
        constants=small.constants,
    )


@dataclass
class Gathered:
    """The evidence, the base run's raw arrays, the box that was in force, and what played them."""

    evidence: ScriptEvidence
    observed: Observed
    level: Level
    runner: Runner


def phases(needs: Collection[Need]) -> list[str]:
    """What an audit will report of, in its order; some of it only where what came before asks for it."""
    wanted = {
        "read": True,
        "base": True,
        "flips": not {Need.SECOND_RUN, Need.FLIPS, Need.OTHER_TEXT}.isdisjoint(needs),
        "documents": Need.BOUNDARIES in needs,
        "null": Need.NULL_RUN in needs,
        "choices": Need.TURNED in needs,
        "recurring": Need.RECURRING in needs,
        "length": Need.AT_LENGTH in needs,
        "judge": True,
    }
    return [name for name, asked in wanted.items() if asked]


def gather(
    runner: Runner,
    ruleset: Ruleset,
    needs: Collection[Need] = (),
    *,
    seed: int = 0,
    adapted: int = 0,
    text: asleep.Text | None = None,
    plan: atlength.Plan | None = None,
) -> Gathered:
    """Play a script, and whatever else is needed of it.

    Args:
        runner: how to run it.
        ruleset: the rules to judge by.
        needs: what is to be gathered beyond the base run, as the checks say that are asked for.
        seed: of the choice of flips, and of the streams, which the caller made with it.
        adapted: how many settings were made smaller.
        text: what the source says of branches; None looks at none.
        plan: of the pass at the submitted sequence length, if there is to be one.

    Raises:
        SandboxError: no box can be built here.
        UsageError: the script's side files cannot be read.
    """
    started = time.monotonic()
    streams = runner.streams
    tokens = len(streams.validation)
    runner.progress.phase("base", "the unmodified script at a tiny size")
    base = runner.play("base", streams)
    read = reading.read(base.observed, tokens, runner.claimed)
    sleep: asleep.Sleep | None = None
    if text is not None and read.main is not None:
        runner, base, read, sleep = _awake(runner, base, read, text)
    reads = _reads_model(runner.script)
    evidence = ScriptEvidence(
        ruleset=ruleset,
        documents=streams.bos_positions,
        base=read,
        vocab_size=streams.vocab_size,
        stream=streams.validation,
        position_of=streams.position_of if not len(streams.steps) else np.where(streams.alternative >= 0, 0, -1),
        token_bytes=true_bytes(streams) if reads else byte_level(streams),
        sidecar_bytes=sidecar_bytes(streams) if "val_bytes" in runner.script.source else None,
        miscounts=miscounts(streams) if reads else {},
        sandbox=base.level.name,
        confined=base.level.filesystem and base.level.network,
        adapted_sizes=adapted,
        ranks=runner.ranks,
        peak_bytes=base.peak_bytes,
        sleep=sleep,
    )
    seconds = {"base run": base.seconds}
    evidence.nulls = [made for made in [permutation_null(read, streams, evidence.token_bytes, seed)] if made]
    runner.progress.done(_said(read))
    if read.main is not None:
        unmade: dict[str, str] = {}

        def play(name: str, *args: Any, **more: Any) -> Played:
            played = runner.play(name, *args, **more)
            if played.cut:
                unmade[name] = played.cut
            return played

        if not {Need.SECOND_RUN, Need.FLIPS, Need.OTHER_TEXT}.isdisjoint(needs):
            runner.progress.phase("flips", "other text behind a place, and whether what was scored before it moves")
        evidence.again, evidence.flips, spent = flips.make(runner, read, base, needs, seed)
        seconds |= spent
        exact.settle(runner, evidence)
        if Need.BOUNDARIES in needs and boundaries.speaks_of(runner.script):
            evidence.boundaries, seconds["ends of documents"] = boundaries.gather(runner)
        if Need.NULL_RUN in needs and (read.main.modified or why_not(evidence)):
            runner.progress.phase("null", "a run on text drawn from a known source")
            null, seconds["null run"] = null_run(runner, seed, play)
            evidence.nulls = [*evidence.nulls, *([null] if null else [])]
        if Need.TURNED in needs:
            before = time.monotonic()
            runner.progress.phase("choices", "what decides by losses")
            evidence.turned = choices.gather(runner, evidence, seed)
            if evidence.turned:
                seconds["runs with a decision turned"] = time.monotonic() - before
        counted = runner.ranks == 1 and not read.claimed and recurring.counts(runner.script)
        if Need.RECURRING in needs and counted:
            runner.progress.phase("recurring", "runs on text in which phrases recur: the script counts tokens")
            evidence.recurring = recurring.gather(play, evidence, base, streams, seed)
            if evidence.recurring is not None:
                seconds["runs on recurring text"] = evidence.recurring.seconds
        evidence.unmade = unmade
        if plan is not None and Need.AT_LENGTH in needs and causality.caught(evidence):
            evidence.at_length = AtLength(plan.window, why=atlength.LEAKS)
        elif plan is not None and Need.AT_LENGTH in needs:
            seconds["at the submitted length"] = atlength.gather(plan, evidence, text)
        elif plan is not None:
            evidence.at_length = AtLength(plan.window, why=atlength.LEFT_OUT)
    seconds["all runs"] = time.monotonic() - started
    evidence.seconds = {name: round(value, 2) for name, value in seconds.items()}
    return Gathered(evidence, base.observed, base.level, runner)


def _reads_model(script: Playable) -> bool:
    """Whether the script counts bytes with the tokenizer that it was given; others have one of their own, or none."""
    return any("sentencepiece" in text for text in script.texts())


def _awake(
    runner: Runner, base: Played, read: ScriptTrace, text: asleep.Text
) -> tuple[Runner, Played, ScriptTrace, asleep.Sleep]:
    """The base run, made again with scaled thresholds while that wakes code; else as it is."""
    assert read.main is not None
    sleep = asleep.look(base.observed, read.main, text)
    for _ in range(_ROUNDS):
        if not (fresh := asleep.woken(sleep.asleep)):
            break
        runner.progress.note(f"once more: {len(fresh)} thresholds of the source scaled, because code slept behind them")
        script = dataclasses.replace(runner.script, thresholds={**runner.script.thresholds, **fresh})
        other = dataclasses.replace(runner, script=script)
        played = other.play("base", runner.streams)
        found = reading.read(played.observed, read.tokens, runner.claimed)
        if found.main is None or found.ended != read.ended or found.main.place != read.main.place:
            return runner, base, read, dataclasses.replace(sleep, asleep=tuple(map(asleep.not_woken, sleep.asleep)))
        woken = (*sleep.woken, *(one for one in sleep.asleep if one.threshold is not None))
        runner, base, read = other, played, found
        sleep = dataclasses.replace(asleep.look(base.observed, found.main, text), woken=woken)
    return runner, base, read, sleep


def _said(read: ScriptTrace) -> str:
    main = read.main
    if main is None:
        return f"no pass was found; the script ended: {read.ended}"
    names = ", ".join(made.name for made in read.passes)
    return f"{len(read.passes)} passes ({names}); the one that counts scores {main.unique():,} positions"


def permutation_null(read: ScriptTrace, streams: Streams, token_bytes: Ints | None, seed: int) -> ScriptNull | None:
    """The base run as a draw: ids without replacement, or steps without repetition, uniformly.

    The reported loss is an average over all targets; document starts and the end, which were not drawn, are charged
    with the rest, which only weakens the test.
    """
    what = "a walk in which no step is made twice" if len(streams.steps) else "a permutation of token ids"
    return _null(read, what, streams.drawn, streams.source_nll, token_bytes, seed)


def null_run(runner: Runner, seed: int, play: Callable[..., Played] | None = None) -> tuple[ScriptNull | None, float]:
    """A run on independent tokens, made with `play` (by default the runner's), and its wall seconds."""
    drawn = data.null(runner.streams, seed)
    streams = data.with_validation(runner.streams, drawn.tokens)
    played = (play or runner.play)("null", streams)
    read = reading.read(played.observed, len(drawn.tokens), runner.claimed)
    count, source = int((drawn.nll > 0).sum()), float(drawn.nll.sum())
    known = true_bytes(streams) if _reads_model(runner.script) else byte_level(streams)
    return _null(read, "independent uniform tokens", count, source, known, seed), played.seconds


def _null(
    read: ScriptTrace, source: str, drawn: int, source_nll: float, token_bytes: Ints | None, seed: int
) -> ScriptNull | None:
    line = read.last
    targets = read.tokens - 1
    if line is not None and not all(value is None or np.isfinite(value) for value in (line.loss, line.bpb)):
        return None  # worse than any source
    if line is not None and line.loss is None and line.bpb is not None and token_bytes is not None:
        bits = line.bpb * float(token_bytes.sum())
        return ScriptNull(source, drawn, source_nll, bits * float(np.log(2)), f"printed: {line.text[:120]}", seed)
    if line is not None and line.loss is not None:
        return ScriptNull(source, drawn, source_nll, line.loss * targets, f"printed: {line.text[:120]}", seed)
    if read.main is not None and np.isfinite(read.main.mean):
        return ScriptNull(source, drawn, source_nll, read.main.mean * targets, "the numbers that left torch", seed)
    return None

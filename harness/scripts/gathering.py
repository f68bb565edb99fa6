"""Run a script as often as an audit needs: the base run, a fresh run that is forked, and runs on changed text.

The base run comes first, because it says where flips are worth making. The forked run and the run on changed text then
go side by side, one core each.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.rules import Ruleset
from harness.sandbox.box import Level, Limits, Sandbox
from harness.scripts import recurring, trace, variants
from harness.scripts import streams as data
from harness.scripts.checks.evidence import Flip, ScriptEvidence
from harness.scripts.checks.followed import why_not
from harness.scripts.observed import Observed
from harness.scripts.running import ForkPoint, Playable, Played, play, same_variant, set_variant
from harness.scripts.streams import Streams
from harness.scripts.trace import ScriptTrace
from harness.scripts.truths import drawn_null, miscounts, permutation_null, sidecar_bytes, true_bytes
from harness.scripts.variants import SAME, Variant

Note = Callable[[str], None]

#: Flips that one audit makes. A base run of more than so many tensor operations gets the smaller number.
SUFFIXES, SWAPS = 4, 2
FEW_SUFFIXES, FEW_SWAPS = 2, 1
SLOW = 100_000
#: Whole runs on changed text where the script is played by several ranks, which are not forked.
RANK_SUFFIXES, RANK_SWAPS = 2, 1

#: Share of what was trained on before the pass that the flip of a whole run replaces.
MEANT = 0.3

#: Memory of a run with two forks in it, in units of a plain run's peak.
FORKED = 2.6


@dataclass(frozen=True)
class Runner:
    """How runs are made.

    Attributes:
        script: what to play.
        streams: the data of the base run.
        limits: of one box.
        sandbox: level of the box.
        logs: folder for what the runs print.
        ranks: processes that play it together.
        claimed: labels of the printed lines that carry the score, if known.
        note: told what happens.
    """

    script: Playable
    streams: Streams
    limits: Limits
    sandbox: Sandbox
    logs: Path
    ranks: int = 1
    claimed: frozenset[str] = frozenset()
    note: Note = field(default=lambda text: None)

    def play(
        self,
        name: str,
        streams: Streams,
        forks: list[ForkPoint] | None = None,
        *,
        peak_bytes: int = 0,
        replay: Sequence[NDArray[Any]] = (),
        draw: bool = False,
    ) -> Played:
        """One run; its output goes to NAME.log. A forked one gets room for the copies of one of `peak_bytes`."""
        room = self.ranks * max(self.limits.memory_bytes, int(FORKED * peak_bytes))
        return play(
            self.script,
            streams,
            log=self.logs / f"{name}.log",
            forks=forks or [],
            replay=replay,
            draw=draw,
            ranks=self.ranks,
            limits=dataclasses.replace(self.limits, memory_bytes=room),
            sandbox=self.sandbox,
        )


@dataclass
class Gathered:
    """The evidence, the base run's raw arrays, and the box that was in force."""

    evidence: ScriptEvidence
    observed: Observed
    level: Level


def gather(runner: Runner, ruleset: Ruleset, *, seed: int = 0, flips: bool = True, adapted: int = 0) -> Gathered:
    """Everything dynamic for one script.

    Args:
        runner: how to run it.
        ruleset: the rules to judge by.
        seed: of the choice of flips, and of the streams, which the caller made with it.
        flips: whether to make flips at all.
        adapted: how many settings were made smaller.

    Raises:
        SandboxError: no box can be built here.
        UsageError: the script's side files cannot be read.
    """
    started = time.monotonic()
    streams = runner.streams
    tokens = len(streams.validation)
    runner.note("the base run")
    base = runner.play("base", streams)
    read = trace.read(base.observed, tokens, runner.claimed)
    evidence = ScriptEvidence(
        ruleset=ruleset,
        documents=streams.bos_positions,
        base=read,
        vocab_size=streams.vocab_size,
        token_bytes=true_bytes(streams),
        sidecar_bytes=sidecar_bytes(streams) if "val_bytes" in runner.script.source else None,
        miscounts=miscounts(streams),
        sandbox=base.level.name,
        confined=base.level.filesystem and base.level.network,
        adapted_sizes=adapted,
        ranks=runner.ranks,
        peak_bytes=base.peak_bytes,
    )
    seconds = {"base run": base.seconds}
    evidence.nulls = [made for made in [permutation_null(read, streams, evidence.token_bytes, seed)] if made]
    runner.note(_said(read))
    if flips and read.main is not None:
        again, made, spent = _flipped(runner, read, base, seed) if runner.ranks == 1 else _changed(runner, read, seed)
        evidence.again, evidence.flips = again, made
        seconds |= spent
        if read.main.modified or why_not(evidence):
            runner.note("a run on text drawn from a known source")
            drawn = data.null(streams, seed)
            played = runner.play("null", data.with_validation(streams, drawn.tokens))
            seconds["null run"] = played.seconds
            text = true_bytes(data.with_validation(streams, drawn.tokens))
            null = drawn_null(trace.read(played.observed, tokens, runner.claimed), drawn, text, seed)
            evidence.nulls = [*evidence.nulls, *([null] if null else [])]
        if runner.ranks == 1 and not evidence.base.claimed and recurring.counts(runner.script):
            runner.note("runs on text in which phrases recur: the script counts tokens")
            evidence.recurring = recurring.gather(runner.play, evidence, base, streams, seed)
            if evidence.recurring is not None:
                seconds["runs on recurring text"] = evidence.recurring.seconds
    seconds["all runs"] = time.monotonic() - started
    evidence.seconds = {name: round(value, 2) for name, value in seconds.items()}
    return Gathered(evidence, base.observed, base.level)


def _flipped(
    runner: Runner, read: ScriptTrace, base: Played, seed: int
) -> tuple[ScriptTrace | None, list[Flip], dict[str, float]]:
    """The forked run, which is also the second unchanged run, and a run on changed text beside it."""
    streams, tokens = runner.streams, len(runner.streams.validation)
    few = int(base.observed.facts.get("operations", 0)) > SLOW
    planned = variants.plan(
        read,
        streams.bos_positions,
        suffixes=FEW_SUFFIXES if few else SUFFIXES,
        swaps=FEW_SWAPS if few else SWAPS,
        seed=seed,
    )
    whole = _whole(read, planned, streams)
    if whole is not None and whole not in planned and planned:
        planned = [*planned, whole]  # without its fork, what comes from before the pass cannot be told
    forked = planned if few else [SAME, *planned]  # the forked run is an unchanged one itself
    point = ForkPoint(
        event=fork_event(base.observed, read),
        variants=[_edit(variant, streams, index) for index, variant in enumerate(forked)],
        until=_after(base.observed, read),
    )
    runner.note(f"{len(planned)} flips in forks of a second run, one in a whole run")
    with ThreadPoolExecutor(2) as pool:
        second = pool.submit(runner.play, "forked", streams, [point], peak_bytes=base.peak_bytes)
        changed = None
        if whole is not None:
            changed = pool.submit(runner.play, "changed", data.with_validation(streams, streams.at(whole.replaced)))
        played = second.result()
        flips = [
            Flip(
                variant,
                "pass",
                trace.read(child.observed, tokens) if child.observed is not None else None,
                edited=None if variant.kind == "same" else _edited(child.observed),
                error=child.problem or None,
            )
            for variant, child in zip(forked, played.forked, strict=True)
        ]
        seconds = {"forked run": played.seconds}
        if changed is not None and whole is not None:
            result = changed.result()
            flips.append(Flip(whole, "run", trace.read(result.observed, tokens), error=_failed(result)))
            seconds["changed run"] = result.seconds
    return trace.read(played.observed, tokens), flips, seconds


def _changed(runner: Runner, read: ScriptTrace, seed: int) -> tuple[ScriptTrace, list[Flip], dict[str, float]]:
    """Several ranks: a second unchanged run, and whole runs on changed text, one after another."""
    streams, tokens = runner.streams, len(runner.streams.validation)
    planned = variants.plan(read, streams.bos_positions, suffixes=RANK_SUFFIXES, swaps=RANK_SWAPS, seed=seed)
    runner.note(f"{len(planned)} flips, each in a whole run of {runner.ranks} ranks")
    again = runner.play("again", streams)
    seconds = {"second run": again.seconds}
    flips = []
    for index, variant in enumerate(planned):
        played = runner.play(f"changed-{index}", data.with_validation(streams, streams.at(variant.replaced)))
        flips.append(Flip(variant, "run", trace.read(played.observed, tokens), error=_failed(played)))
        seconds[f"changed run {index}"] = played.seconds
    return trace.read(again.observed, tokens), flips, seconds


def _whole(read: ScriptTrace, planned: list[Variant], streams: Streams) -> Variant | None:
    """The flip for a whole run: one that is forked too, to tell what comes from before the pass; else the middle.

    Where something was trained on before the pass, it has to change a good part of that: what is replaced behind it
    (the text's last chunk, which no script trains on) can show nothing.
    """
    suffixes = [variant for variant in planned if variant.kind == "suffix"]
    main = read.main
    assert main is not None
    scored = main.position[(main.position > 0) & ~np.isin(main.position, streams.bos_positions)]
    early = read.ledger(main).before
    if early.any():
        suffixes = [one for one in suffixes if early[one.replaced].sum() >= MEANT * early.sum()]
        scored = scored[early[scored]] if early[scored].any() else scored
    if suffixes:
        return next((variant for variant in suffixes if "batch" in variant.why), suffixes[0])
    if not len(scored):
        return None
    return variants.later(main, int(scored[len(scored) // 2]), read.tokens, streams.bos_positions)


def fork_event(observed: Observed, read: ScriptTrace) -> int:
    """The event to fork before: the one before the headline pass, so that its first batch is not yet in flight.

    Where that event belongs to a training (its batch would be trained on half changed), the pass's own first event.
    """
    assert read.main is not None
    first = int(read.main.event.min())
    begin = read.begin(read.main)
    if begin < observed.event_seq[first]:  # the pass begins with a training; the losses that it is made of come before
        floor = max(
            [int(t.seq) for t in read.trainings if t.seq < begin] + [p.seq for p in read.passes if p.seq < begin],
            default=-1,
        )
        first = int(np.searchsorted(observed.event_seq, floor, side="right"))
    if first == 0:
        return 0
    before, at = observed.event_seq[first - 1], observed.event_seq[first]
    return first if any(before < training.seq < at for training in read.trainings) else first - 1


def _after(observed: Observed, read: ScriptTrace) -> int | None:
    """The first event after the headline pass was reported, where forks may end."""
    assert read.main is not None
    later = np.flatnonzero(observed.event_seq > read.main.seq)
    return int(later[0]) if len(later) else None


def _edit(variant: Variant, streams: Streams, index: int):  # type: ignore[no-untyped-def]  # a running.Variant
    return set_variant(streams, variant.replaced, f"{index}") if len(variant.replaced) else same_variant(f"{index}")


def _edited(observed: Observed | None) -> int | None:
    counts = observed.facts.get("edited") if observed is not None else None
    return int(counts.get("tokens", 0)) if isinstance(counts, dict) else 0


def _failed(played: Played) -> str | None:
    ended = str(played.observed.facts.get("ended", ""))
    return None if ended == "ok" else f"{ended}: {played.observed.facts.get('error', '')}"[:300]


def _said(read: ScriptTrace) -> str:
    main = read.main
    if main is None:
        return f"no pass was found; the script ended: {read.ended}"
    names = ", ".join(made.name for made in read.passes)
    return f"{len(read.passes)} passes ({names}); the one that counts scores {main.unique():,} positions"

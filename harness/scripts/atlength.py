"""One pass at the submitted sequence length, beside the tiny ones: what acts only there acts in it.

Length gates, block sizes, chunk ends, rotary tables and masks are as submitted; the model is small and the stream just
long enough (see `lengthened`). A base run says where the pass that counts begins; forks of a second one then replace
tokens that stand far apart, from a place in the first window on and from one behind it. Rows that come before the first
of them may not move, and neither may its own. A row that moved is an accusation only beside a further run in which
nothing was replaced.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.audit.causality import NO_CONTROL
from harness.scripts import asleep, exact
from harness.scripts.checks import causality
from harness.scripts.checks.evidence import AT_LENGTH, AtLength, Flip, ScriptEvidence, Variant
from harness.scripts.checks.followed import why_not
from harness.scripts.flips import failed, flipped, fork_point
from harness.scripts.lengthened import Long
from harness.scripts.play import streams as data
from harness.scripts.play.running import Playable, Played, Runner
from harness.scripts.play.streams import true_bytes
from harness.scripts.scale import Tiny
from harness.scripts.trace import reading
from harness.scripts.trace.observed import Ints
from harness.scripts.trace.reading import ScriptTrace

#: Tokens that can be replaced, one in each stretch of the stream.
REPLACED = 24
#: Where the flips begin, in units of the window: in the half of the first one that no tiny run has, and behind it, in
#: the document that is longer than a window.
_FROM = (0.6, 1.1)
#: A scaled threshold is a count of tokens where it is a smaller share of the submitted one; else a length, and stays.
_COUNTED = 1 / 200
#: Why there is none where none is needed, and where nothing asked for it.
LEAKS = "a leak was seen at a tiny size"
LEFT_OUT = "it was not asked for (--depth quick leaves it out)"


@dataclass(frozen=True)
class Plan:
    """How the pass is made, or why it is not.

    Attributes:
        window: as submitted, in tokens.
        long: its settings; None where there can be none.
        why: the reason then.
        runner: plays it.
    """

    window: int
    long: Long | None = None
    why: str = ""
    runner: Runner | None = None


def plan(window: int, long: Long | str, runner: Runner, playable: Callable[[Tiny], Playable], seed: int) -> Plan:
    """The plan of a script, from its settings.

    Args:
        window: the longest as submitted, in tokens.
        long: settings, or why there are none.
        runner: of the tiny runs.
        playable: from settings to what is played.
        seed: of the stream.
    """
    if isinstance(long, str):
        return Plan(window, why=long)
    if runner.ranks > 1:
        return Plan(window, why=f"it is made by one rank, and {runner.ranks} were asked for")
    positions = _spread(long.tokens, seed)
    document = long.window + long.window // 4
    streams = data.long(long.small.vocab_size, long.tokens, positions, seed, document=document)
    return Plan(window, long, "", dataclasses.replace(runner, script=playable(long.small), streams=streams))


def _spread(tokens: int, seed: int) -> Ints:
    """A position in each stretch of the stream, away from its ends."""
    rng = np.random.default_rng((seed, 4))
    edges = np.linspace(1, tokens - 1, REPLACED + 1).astype(np.int64)
    return np.array([rng.integers(a + 8, b - 8) for a, b in zip(edges, edges[1:], strict=False)], np.int64)


def gather(
    plan: Plan, evidence: ScriptEvidence, text: asleep.Text | None = None, *, only: tuple[str, int] | None = None
) -> float:
    """Play the pass and its flips, and put what came of them into the evidence; returns wall seconds.

    Args:
        plan: how.
        evidence: of the tiny runs.
        text: what the source says of branches: arms that slept there and ran here are awake. None looks at none.
        only: scope and position of the one flip to make.
    """
    evidence.at_length = found = AtLength(plan.window, why=plan.why)
    if plan.long is None or plan.runner is None:
        return 0.0
    long = plan.long
    script = dataclasses.replace(plan.runner.script, thresholds=_kept(evidence.sleep))
    runner = dataclasses.replace(plan.runner, script=script)
    reduced = tuple(f"{one.name} {one.real} -> {one.tiny}: {one.why}" for one in long.reduced)
    evidence.at_length = found = AtLength(long.window, long.tokens, reduced=reduced)
    runner.progress.phase("length", f"one pass at the submitted length of {long.window:,} tokens")
    base = runner.play("long", runner.streams)
    if base.cut:
        evidence.at_length = dataclasses.replace(found, why=base.cut)
        return base.seconds
    read = reading.read(base.observed, long.tokens, runner.claimed)
    shown = dataclasses.replace(
        evidence, base=read, documents=runner.streams.bos_positions, vocab_size=runner.streams.vocab_size,
        token_bytes=true_bytes(runner.streams), sidecar_bytes=None, miscounts={}, again=None, flips=(), nulls=(),
        recurring=None, unmade={}, turned=(), at_length=None, sleep=None,
    )  # fmt: skip
    if (problem := why_not(shown)) is not None:
        evidence.at_length = dataclasses.replace(found, why=problem)
        return base.seconds
    shown.flips, seconds = _flips(runner, read, base, long.window, only)
    seconds += base.seconds
    made = causality.compared(shown, list(shown.flips))
    if any(causality.leaks(shown, result) for _, result in made):
        again = runner.play("long-again", runner.streams)
        seconds += again.seconds
        shown.again = reading.read(again.observed, long.tokens)
        if shown.rerun() is None:
            why = f"a row moved, and the unchanged run to hold it against was not made: {failed(again) or 'no pass'}"
            evidence.at_length = dataclasses.replace(found, why=why)
            return seconds
        if only is None:
            exact.settle(runner, shown)
            made = causality.compared(shown, list(shown.flips))
    evidence.at_length = dataclasses.replace(found, shown=shown, why=_why(shown, made))
    if text is not None and evidence.sleep is not None and not evidence.at_length.why:
        evidence.sleep = asleep.awake(evidence.sleep, base.observed, text)
    return seconds


def _why(shown: ScriptEvidence, made: list[causality.Made]) -> str:
    """Why the flips show nothing, one clause; empty where they do."""
    if not shown.flips:
        return "no token of it can be replaced"
    missing = causality.unmade(list(shown.flips), made)
    if missing:
        return f"{len(missing)} of {len(shown.flips)} tests with other text were not made: " + causality.why_unmade(
            missing[0]
        )
    if not all(result.aligned for _, result in made):
        return "other text changes which positions are scored first"
    if not any(result.control for _, result in made):
        return NO_CONTROL
    return ""


def _kept(sleep: asleep.Sleep | None) -> dict[str, float]:
    """The scaled thresholds that stay scaled at the submitted length: counts of tokens, of which there are few here."""
    woken = sleep.woken if sleep is not None else ()
    return {
        one.threshold[0]: one.threshold[1]
        for one in woken
        if one.threshold is not None and one.real and abs(one.threshold[1]) < _COUNTED * abs(one.real)
    }


def _flips(
    runner: Runner, read: ScriptTrace, base: Played, window: int, only: tuple[str, int] | None
) -> tuple[list[Flip], float]:
    """Forks as the pass begins, and whole runs for what is in flight then; with their wall seconds."""
    streams, tokens, main = runner.streams, read.tokens, read.main
    assert main is not None
    rank = main.rank(tokens)
    places = np.flatnonzero(streams.validation != streams.flipped)
    places = places[rank[places] >= 0]
    variants: dict[int, Variant] = {}
    for share in _FROM:
        usable = places[places >= share * window]
        if len(usable):
            first = int(usable[0])
            variants[first] = Variant("swap", first, places[rank[places] >= rank[first]], AT_LENGTH)
    point = fork_point(streams, read, base, [])
    flying = int(np.flatnonzero(main.event == main.event[0]).max()) if point.event == int(main.event.min()) else -1
    forks = [one for first, one in variants.items() if rank[first] > flying and only in (None, ("pass", first))]
    whole = [one for first, one in variants.items() if rank[first] <= flying and only in (None, ("run", first))]
    flips: list[Flip] = []
    seconds = 0.0
    if forks:
        made = runner.play("long-forked", streams, [fork_point(streams, read, base, forks)], like=base, stop=True)
        flips += flipped(forks, made.forked, tokens)
        seconds += made.seconds
    for one in whole:
        changed = runner.play("long-changed", data.with_validation(streams, streams.at(one.replaced)))
        flips.append(Flip(one, "run", reading.read(changed.observed, tokens), error=failed(changed)))
        seconds += changed.seconds
    return flips, seconds

"""Flips: which tokens they replace, where they are worth making, and the runs that make them.

They are worth making inside scoring batches, and where the ledger points. "Later" is later in the script's own order of
processing; where that is the stream's order, a suffix is one of the stream. A flip is made in a fork of a second run,
from the pass that counts on, or in a whole run on changed text.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from harness.audit.check import Need
from harness.scripts.checks.evidence import SAME, Flip, Variant
from harness.scripts.play import streams as data
from harness.scripts.play.running import ForkPoint, Played, Runner, edit
from harness.scripts.play.streams import Streams
from harness.scripts.trace import reading
from harness.scripts.trace.observed import Ints, Observed
from harness.scripts.trace.passes import Pass
from harness.scripts.trace.reading import ScriptTrace

#: Flips that one audit makes. A base run of more than so many tensor operations gets the smaller number.
SUFFIXES, SWAPS = 4, 2
FEW_SUFFIXES, FEW_SWAPS = 2, 1
SLOW = 100_000
#: Whole runs on changed text where the script is played by several ranks, which are not forked.
RANK_SUFFIXES, RANK_SWAPS = 2, 1
#: Share of what was trained on before the pass that the flip of a whole run replaces.
MEANT = 0.3


def later(scored: Pass, position: int, tokens: int, documents: Ints) -> Variant:
    """Replace `position` and everything that is processed later.

    Where the pass goes through the stream from left to right, tokens that are never scored go with the rest.
    """
    rank = scored.rank(tokens)
    in_order = bool((np.diff(rank[rank >= 0]) > 0).all())
    chosen = rank >= rank[position]
    if in_order:
        chosen |= np.arange(tokens) >= position
    chosen[documents] = False  # BOS stays BOS
    return Variant("suffix", position, np.flatnonzero(chosen))


def swap(position: int, why: str = "") -> Variant:
    """Replace one token."""
    return Variant("swap", position, np.array([position], np.int64), why)


def plan(read: ScriptTrace, documents: Ints, *, suffixes: int = 4, swaps: int = 3, seed: int = 0) -> list[Variant]:
    """Flips for the headline pass: trained-before-scored positions first, then the middle of scoring batches.

    Args:
        read: the base run.
        documents: where documents start; their BOS cannot be replaced.
        suffixes: how many suffix flips.
        swaps: how many single ones.
        seed: of the choice among batches.
    """
    main = read.main
    if main is None or not len(main.position):
        return []
    rng = np.random.default_rng(seed)
    ledger = read.ledger(main)
    rank = main.rank(read.tokens)
    usable = rank >= _settled(main)
    usable[documents] = False
    early = np.flatnonzero(ledger.early & usable)
    points = [(int(early[i]), "trained before it is scored") for i in _spread(len(early), 2)]
    points += [(position, "inside a scoring batch") for position in _batches(main, usable, rng)]
    chosen = list(dict.fromkeys(point for point, _ in points))
    why = dict(reversed(points))
    made = [
        Variant("suffix", point, later(main, point, read.tokens, documents).replaced, why[point])
        for point in chosen[:suffixes]
    ]
    singles = [point for point in chosen[:2] if why[point].startswith("trained")] + chosen[suffixes:]
    return made + [swap(point, why[point]) for point in (singles or chosen)[:swaps]]


def _settled(main: Pass) -> int:
    """Rank from which tokens can be replaced: the pass's first batch may be in flight when it is forked."""
    first = np.flatnonzero(main.event == main.event[0])
    return max(int(first.max()) + 1, len(main.position) // 8)


def _spread(count: int, most: int) -> list[int]:
    """Up to `most` indices spread over `count` items, not the edges."""
    return sorted({int((i + 0.5) * count / most) for i in range(most)}) if count else []


def _batches(main: Pass, usable: NDArray[np.bool_], rng: np.random.Generator) -> list[int]:
    """A position from the middle of each of some scoring operations, one from each part of the pass in turn."""
    events = np.unique(main.event[main.position >= 0])
    if not len(events):
        return []
    picks: list[int] = []
    parts = np.array_split(events, min(len(events), 8))
    order = [0, *range(1, len(parts))]
    order.sort(key=lambda i: (i % 2, i))
    for index in order:
        event = int(rng.choice(parts[index]))
        inside = main.position[main.event == event]
        inside = inside[(inside >= 0) & usable[np.clip(inside, 0, len(usable) - 1)]]
        if len(inside):
            picks.append(int(inside[len(inside) // 2]))
    return picks


def make(
    runner: Runner, read: ScriptTrace, base: Played, needs: Collection[Need], seed: int
) -> tuple[ScriptTrace | None, list[Flip], dict[str, float]]:
    """The second unchanged run, and the flips, as far as they are needed.

    Args:
        runner: plays the script.
        read: the base run.
        base: the same as it was played.
        needs: SECOND_RUN, FLIPS and OTHER_TEXT count.
        seed: of the choice of flips.

    Returns:
        What the second run left, if one was made; the flips; wall seconds of the runs by name.
    """
    forks, whole = Need.FLIPS in needs, Need.OTHER_TEXT in needs
    if runner.ranks > 1:  # never forked: whole runs are all that there is
        planned = _planned(runner, read, RANK_SUFFIXES, RANK_SWAPS, seed) if forks or whole else []
        return _in_whole_runs(runner, read, planned, again=Need.SECOND_RUN in needs)
    slow = int(base.observed.facts.get("operations", 0)) > SLOW
    planned = _planned(runner, read, FEW_SUFFIXES if slow else SUFFIXES, FEW_SWAPS if slow else SWAPS, seed)
    changed = _whole(read, planned, runner.streams) if whole else None
    if not forks:
        return _in_whole_runs(runner, read, [changed] if changed else [], again=Need.SECOND_RUN in needs)
    if changed is not None and changed not in planned and planned:
        planned = [*planned, changed]  # without its fork, what comes from before the pass cannot be told
    # The forked run is an unchanged one itself.
    return forked(runner, read, base, planned if slow else [SAME, *planned], changed)


def _planned(runner: Runner, read: ScriptTrace, suffixes: int, swaps: int, seed: int) -> list[Variant]:
    return plan(read, runner.streams.bos_positions, suffixes=suffixes, swaps=swaps, seed=seed)


def forked(
    runner: Runner, read: ScriptTrace, base: Played, variants: list[Variant], whole: Variant | None = None
) -> tuple[ScriptTrace, list[Flip], dict[str, float]]:
    """The forked run, which is also the second unchanged run, and where asked for a run on changed text beside it."""
    streams, tokens = runner.streams, len(runner.streams.validation)
    point = ForkPoint(
        event=_fork_event(base.observed, read),
        edits=[edit(streams, variant.replaced, f"{index}") for index, variant in enumerate(variants)],
        until=_after(base.observed, read),
    )
    count = sum(variant.kind != "same" for variant in variants)
    runner.note(f"{count} flips in forks of a second run" + (", one in a whole run" if whole is not None else ""))
    with ThreadPoolExecutor(2) as pool:
        second = pool.submit(runner.play, "forked", streams, [point], like=base)
        changed = None
        if whole is not None:
            changed = pool.submit(runner.play, "changed", data.with_validation(streams, streams.at(whole.replaced)))
        played = second.result()
        flips = [
            Flip(
                variant,
                "pass",
                reading.read(child.observed, tokens) if child.observed is not None else None,
                edited=None if variant.kind == "same" else _edited(child.observed),
                error=child.problem or None,
            )
            for variant, child in zip(variants, played.forked, strict=True)
        ]
        seconds = {"forked run": played.seconds}
        # What the running script holds no copy of is replaced on disk, in a run of its own.
        unreached = [flip.variant for flip in flips if flip.edited == 0]
        flips = [flip for flip in flips if flip.edited != 0]
        if changed is not None and whole is not None:
            result = changed.result()
            flips.append(Flip(whole, "run", reading.read(result.observed, tokens), error=_failed(result)))
            seconds["changed run"] = result.seconds
    _, more, spent = _in_whole_runs(runner, read, [one for one in unreached if one is not whole], again=False)
    flips, seconds = [*flips, *more], {**seconds, **spent}
    return reading.read(played.observed, tokens), flips, seconds


def _in_whole_runs(
    runner: Runner, read: ScriptTrace, variants: list[Variant], *, again: bool
) -> tuple[ScriptTrace | None, list[Flip], dict[str, float]]:
    """A second unchanged run, and each flip in a whole run on changed text, one after another."""
    streams, tokens = runner.streams, len(runner.streams.validation)
    second, seconds = None, {}
    if again:
        runner.note("a second run")
        played = runner.play("again", streams)
        second, seconds["second run"] = reading.read(played.observed, tokens), played.seconds
    if variants:
        runner.note(f"{len(variants)} flips, each in a whole run")
    flips = []
    for index, variant in enumerate(variants):
        played = runner.play(f"changed-{index}", data.with_validation(streams, streams.at(variant.replaced)))
        flips.append(Flip(variant, "run", reading.read(played.observed, tokens), error=_failed(played)))
        seconds[f"changed run {index}"] = played.seconds
    return second, flips, seconds


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
    return later(main, int(scored[len(scored) // 2]), read.tokens, streams.bos_positions)


def _fork_event(observed: Observed, read: ScriptTrace) -> int:
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


def _edited(observed: Observed | None) -> int | None:
    if observed is None:
        return None  # the fork is missing, which says nothing of what it could have replaced
    counts = observed.facts.get("edited")
    return int(counts.get("tokens", 0)) if isinstance(counts, dict) else 0


def _failed(played: Played) -> str | None:
    ended = str(played.observed.facts.get("ended", ""))
    if ended == "ok":
        return None
    said = str(played.observed.facts.get("error", ""))
    return (said if ended == "killed" else f"{ended}: {said}")[:300]

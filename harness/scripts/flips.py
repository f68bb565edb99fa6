"""Flips: which tokens they replace, where they are worth making, and the runs that make them.

They are worth making inside scoring batches, and where the ledger points. "Later" is later in the script's own order of
processing; where that is the stream's order, a suffix is one of the stream. A flip is made in a fork of a second run,
from the pass that counts on, or in a whole run on changed text. One fork changes nothing: it is the second unchanged
run, and the run that was forked goes no further.

A suffix begins inside blocks of any size, not where they end: cuts have different remainders. Every second one goes on
with text of another kind, which the model was trained on and which repeats: what ranks or selects among all rows of a
batch hardly changes its mind about the earlier ones while the later ones are as they were on average.

Single tokens are replaced many at once, far apart, since a fork costs the same: the first one's own row is exactly what
the base run says or it leaks, those of the others may move with what came before, and one that moves more than the rows
beside it is tried again alone, in further forks of the same run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from harness.audit.check import Need
from harness.referee.comparator import ROUNDING
from harness.scripts.checks.comparing import compare, own_rows
from harness.scripts.checks.evidence import COUNTERFACTUAL, Flip, Variant, counterpart
from harness.scripts.play import streams as data
from harness.scripts.play.running import Edit, Forked, ForkPoint, Played, Runner, edit
from harness.scripts.play.streams import Streams
from harness.scripts.trace import reading
from harness.scripts.trace.observed import Ints, Observed
from harness.scripts.trace.passes import Pass
from harness.scripts.trace.reading import ScriptTrace

#: Flips that one audit makes. A base run of more than so many tensor operations gets the smaller number, one of fewer
#: than so many the larger: forks of it cost next to nothing.
MANY_SUFFIXES, FAST = 8, 15_000
SUFFIXES, SWAPS = 4, 2
FEW_SUFFIXES, FEW_SWAPS = 2, 1
SLOW = 100_000
#: Whole runs on changed text where the script is played by several ranks, which are not forked.
RANK_SUFFIXES, RANK_SWAPS = 2, 1
#: Share of the text that may be of the other kind, as its tokens cannot be located; and how many different ones it has.
OTHER_KIND, _FEW_TOKENS = 0.3, 16
#: Places among the rows of one flip of single tokens: least and most distance in order of processing, and their number.
APART = (9, 15)
PLACES = 200
#: Own rows of such a flip that are tried again alone, at most.
SUSPECTS = 3
#: Remainders by this number tell blocks apart in which a suffix may begin; odd steps through them alternate.
_BLOCK, _STEP = 64, 37
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


def apart(
    scored: Pass, usable: NDArray[np.bool_], rng: np.random.Generator, first: int | None = None, why: str = ""
) -> Variant | None:
    """Replace many tokens, each some way behind the one before it in order of processing; None where none can be.

    Args:
        scored: the pass.
        usable: bool [tokens], what may be replaced.
        rng: of the distances.
        first: a position to begin with; one of the first by default.
        why: what is special about the first.
    """
    rank = scored.rank(len(usable))
    at = np.sort(rank[usable & (rank >= 0)])
    low = rank[first] if first is not None else int(at[0]) + int(rng.integers(APART[1])) if len(at) else 0
    at = at[at >= low]
    chosen: list[int] = []
    while len(at) and len(chosen) < PLACES:
        chosen.append(int(at[0]))
        at = at[at >= chosen[-1] + int(rng.integers(APART[0], APART[1] + 1))]
    if not chosen:
        return None
    places = scored.position[chosen]
    return Variant("swap", int(places[0]), np.sort(places), why)


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
        dataclasses.replace(
            later(main, point, read.tokens, documents), why=why[point], trained=_behind(main, point, turn)
        )
        for turn, point in enumerate(chosen[:suffixes])
    ]
    # Where the ledger points, a row of which nothing else can move comes first, and those behind it are early, too.
    firsts = [int(early[i]) for i in _spread(len(early), 8)][:swaps]
    reasons = ["trained before it is scored" if len(early) else "single tokens, far apart"] * swaps
    none: list[int | None] = [None] * swaps
    singles = (apart(main, usable, rng, first, reason) for first, reason in zip(firsts or none, reasons, strict=False))
    return made + [single for single in singles if single is not None]


def _behind(main: Pass, point: int, turn: int) -> Ints:
    """What of a suffix is of the other kind: every second time the rest of its batch, the first token apart."""
    if turn % 2 == 0:
        return np.zeros(0, np.int64)
    at = int(np.argmax(main.position == point))
    rest = main.position[at + 1 : at + 1 + int(OTHER_KIND * len(main.position))]
    rest = rest[main.event[at + 1 : at + 1 + len(rest)] == main.event[at]]
    return np.unique(rest[(rest >= 0) & (rest != point)])


def text(streams: Streams, variant: Variant) -> NDArray[np.uint16]:
    """The validation stream of a variant, uint16 [tokens]; document starts and the end are what they were."""
    made = streams.at(variant.replaced)
    at = variant.trained[streams.validation[variant.trained] != streams.flipped[variant.trained]]
    low, high = streams.train_ids
    made[at] = low + at % min(_FEW_TOKENS, high - low)
    return made


def _settled(main: Pass) -> int:
    """Rank from which tokens can be replaced: the pass's first batch may be in flight when it is forked."""
    first = np.flatnonzero(main.event == main.event[0])
    return max(int(first.max()) + 1, len(main.position) // 8)


def _spread(count: int, most: int) -> list[int]:
    """Up to `most` indices spread over `count` items, not the edges."""
    return sorted({int((i + 0.5) * count / most) for i in range(most)}) if count else []


def _batches(main: Pass, usable: NDArray[np.bool_], rng: np.random.Generator) -> list[int]:
    """A position from the inner half of each of some scoring operations, one from each part of the pass in turn.

    Batches and blocks are powers of two long as a rule, and their middles lie where blocks end: what looks ahead within
    a block does not show in a suffix that begins there. So positions have remainders that differ from pick to pick.
    """
    events = np.unique(main.event[main.position >= 0])
    if not len(events):
        return []
    picks: list[int] = []
    parts = np.array_split(events, min(len(events), 8))
    order = [0, *range(1, len(parts))]
    order.sort(key=lambda i: (i % 2, i))
    start = int(rng.integers(_BLOCK))
    for turn, index in enumerate([*order, *order]):  # where there are few batches, each has two
        event = int(rng.choice(parts[index]))
        inside = main.position[main.event == event]
        inside = inside[(inside >= 0) & usable[np.clip(inside, 0, len(usable) - 1)]]
        if len(inside):
            inner = inside[len(inside) // 4 : max(len(inside) // 4 + 1, 3 * len(inside) // 4)]
            picks.append(int(inner[np.argmin((inner - start - _STEP * turn) % _BLOCK)]))
    return list(dict.fromkeys(picks))


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
        second, made, seconds = _in_whole_runs(runner, read, planned, again=Need.SECOND_RUN in needs)
        return _with_suspects(runner, read, second, made, seconds)
    slow = int(base.observed.facts.get("operations", 0)) > SLOW
    few, many = (FEW_SUFFIXES, FEW_SUFFIXES) if slow else (SUFFIXES, MANY_SUFFIXES)
    suffixes = many if int(base.observed.facts.get("operations", 0)) <= FAST else few
    planned = _planned(runner, read, suffixes, FEW_SWAPS if slow else SWAPS, seed)
    changed = _whole(read, planned, runner.streams) if whole else None
    if not forks:
        return _in_whole_runs(runner, read, [changed] if changed else [], again=Need.SECOND_RUN in needs)
    if changed is not None and changed not in planned and planned:
        planned = [*planned, changed]  # without its fork, what comes from before the pass cannot be told
    return forked(runner, read, base, planned, changed, suspecting=True)


def _with_suspects(
    runner: Runner, read: ScriptTrace, second: ScriptTrace | None, made: list[Flip], seconds: dict[str, float]
) -> tuple[ScriptTrace | None, list[Flip], dict[str, float]]:
    """The same, and suspects that were not tried alone yet, each in a whole run."""
    tried = {flip.variant.position for flip in made if len(flip.variant.replaced) == 1}
    alone = [one for one in _alone(read, made) if one.position not in tried]
    _, more, spent = _in_whole_runs(runner, read, alone, again=False, name="suspected")
    return second, [*made, *more], {**seconds, **spent}


def _alone(read: ScriptTrace, made: list[Flip]) -> list[Variant]:
    return [swap(position, "its own row moved among many") for position in suspects(read, made)]


def suspects(read: ScriptTrace, made: list[Flip]) -> list[int]:
    """Positions to be replaced alone: their own rows moved among many that were replaced, more than rows beside them.

    None where a row moved already that must not.
    """
    found: dict[int, float] = {}
    for flip in made:
        main, other = read.main, counterpart(read, flip.trace) if flip.trace is not None else None
        if main is None or other is None:
            continue
        mask = flip.variant.mask(read.tokens)
        result = compare(main, other, mask)
        if result.aligned and (result.moved(ROUNDING) or result.own_moved(COUNTERFACTUAL)):
            return []
        if flip.variant.kind == "swap":
            found |= own_rows(main, other, mask).suspicious()
    return sorted(found, key=lambda position: -found[position])[:SUSPECTS]


def _planned(runner: Runner, read: ScriptTrace, suffixes: int, swaps: int, seed: int) -> list[Variant]:
    return plan(read, runner.streams.bos_positions, suffixes=suffixes, swaps=swaps, seed=seed)


def forked(
    runner: Runner,
    read: ScriptTrace,
    base: Played,
    variants: list[Variant],
    whole: Variant | None = None,
    *,
    suspecting: bool = False,
) -> tuple[ScriptTrace | None, list[Flip], dict[str, float]]:
    """Flips in forks of a second run, one of which changes nothing; if asked for, a run on changed text beside it.

    Args:
        runner: plays the script.
        read: the base run.
        base: the same as it was played.
        variants: the flips.
        whole: one more, in a whole run.
        suspecting: whether single tokens whose own rows stand out are tried alone.

    Returns:
        The unchanged fork; the flips; wall seconds of the runs by name.
    """
    streams, tokens = runner.streams, len(runner.streams.validation)
    unchanged = edit(streams, [], "unchanged")
    point = fork_point(streams, read, base, variants)
    point = dataclasses.replace(point, edits=[unchanged, *point.edits])
    runner.progress.note(
        f"{len(variants)} flips in forks of a second run" + (", one in a whole run" if whole is not None else "")
    )
    seconds: dict[str, float] = {}
    beside: list[Flip] = []
    alone: list[Variant] = []
    with ThreadPoolExecutor(1) as pool:
        changed = None
        if whole is not None:
            changed = pool.submit(runner.play, "changed", data.with_validation(streams, text(streams, whole)))

        def run_beside() -> list[Flip]:
            if changed is not None and whole is not None and not beside:
                result = changed.result()
                trace = reading.read(result.observed, tokens)
                beside.append(Flip(whole, "run", trace, error=failed(result)))
                seconds["changed run"] = result.seconds
            return beside

        def suspected(answers: list[Forked]) -> list[Edit]:
            made = [flip for flip in flipped(variants, answers[1:], tokens) if flip.edited != 0]
            alone[:] = _alone(read, [*made, *run_beside()])
            return list(fork_point(streams, read, base, alone).edits)

        played = runner.play("forked", streams, [point], like=base, stop=True, more=suspected if suspecting else None)
        run_beside()
    seconds["forked run"] = played.seconds
    flips = flipped([*variants, *alone], played.forked[1:], tokens)
    second = played.forked[0].observed
    # What the running script holds no copy of is replaced on disk, in a run of its own.
    unreached = [flip.variant for flip in flips if flip.edited == 0]
    flips = [*(flip for flip in flips if flip.edited != 0), *beside]
    _, more, spent = _in_whole_runs(runner, read, [one for one in unreached if one is not whole], again=False)
    again = reading.read(played.observed if second is None else second, tokens)
    flips, seconds = [*flips, *more], {**seconds, **spent}
    return _with_suspects(runner, read, again, flips, seconds) if suspecting and unreached else (again, flips, seconds)


def fork_point(streams: Streams, read: ScriptTrace, base: Played, variants: list[Variant]) -> ForkPoint:
    """Where the pass that counts begins, and what is replaced there: one child for each variant."""
    return ForkPoint(
        event=_fork_event(base.observed, read),
        edits=[
            Edit(str(index), one, text(streams, variant)[one])
            for index, variant in enumerate(variants)
            for one in [edit(streams, variant.replaced, "").positions]
        ],
        until=_after(base.observed, read),
    )


def flipped(variants: list[Variant], answers: list[Forked], tokens: int) -> list[Flip]:
    """What came of each variant in the children of a forked run."""
    return [
        Flip(
            variant,
            "pass",
            reading.read(child.observed, tokens) if child.observed is not None else None,
            edited=_edited(child.observed),
            error=child.problem or None,
        )
        for variant, child in zip(variants, answers, strict=True)
    ]


def _in_whole_runs(
    runner: Runner, read: ScriptTrace, variants: list[Variant], *, again: bool, name: str = "changed"
) -> tuple[ScriptTrace | None, list[Flip], dict[str, float]]:
    """A second unchanged run, and each flip in a whole run on changed text, one after another."""
    streams, tokens = runner.streams, len(runner.streams.validation)
    second, seconds = None, {}
    if again:
        runner.progress.note("a second run")
        played = runner.play("again", streams)
        second, seconds["second run"] = reading.read(played.observed, tokens), played.seconds
    if variants:
        runner.progress.note(f"{len(variants)} flips, each in a whole run")
    flips = []
    for index, variant in enumerate(variants):
        played = runner.play(f"{name}-{index}", data.with_validation(streams, text(streams, variant)))
        flips.append(Flip(variant, "run", reading.read(played.observed, tokens), error=failed(played)))
        seconds[f"{name} run {index}"] = played.seconds
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


def failed(played: Played) -> str | None:
    """Why a whole run shows nothing, one line; None where it came to its end."""
    ended = str(played.observed.facts.get("ended", ""))
    if ended == "ok":
        return None
    said = str(played.observed.facts.get("error", ""))
    return (said if ended == "killed" else f"{ended}: {said}")[:300]

"""Which tokens a flip replaces, and where flips are worth making: inside scoring batches, and where the ledger points.

"Later" is later in the script's own order of processing; where that is the stream's order, a suffix is one of the
stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.scripts.observed import Ints
from harness.scripts.trace import Pass, ScriptTrace

Kind = Literal["same", "suffix", "swap"]


@dataclass(frozen=True, eq=False)
class Variant:
    """Tokens to replace by those of the other permutation.

    Attributes:
        kind: "same" for none, "suffix" for a position and all that is processed later, "swap" for it alone.
        position: the first of them in order of processing; -1 for none.
        replaced: int64, all of them, sorted.
        why: what is special about the place.
    """

    kind: Kind
    position: int
    replaced: Ints
    why: str = ""

    def mask(self, tokens: int) -> NDArray[np.bool_]:
        """Boolean [tokens], True where a token is replaced."""
        made = np.zeros(tokens, bool)
        made[self.replaced] = True
        return made


SAME = Variant("same", -1, np.zeros(0, np.int64))


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


def plan(trace: ScriptTrace, documents: Ints, *, suffixes: int = 4, swaps: int = 3, seed: int = 0) -> list[Variant]:
    """Flips for the headline pass: trained-before-scored positions first, then the middle of scoring batches.

    Args:
        trace: of the base run.
        documents: where documents start; their BOS cannot be replaced.
        suffixes: how many suffix flips.
        swaps: how many single ones.
        seed: of the choice among batches.
    """
    main = trace.main
    if main is None or not len(main.position):
        return []
    rng = np.random.default_rng(seed)
    ledger = trace.ledger(main)
    rank = main.rank(trace.tokens)
    usable = rank >= _settled(main)
    usable[documents] = False
    early = np.flatnonzero(ledger.early & usable)
    points = [(int(early[i]), "trained before it is scored") for i in _spread(len(early), 2)]
    points += [(position, "inside a scoring batch") for position in _batches(main, usable, rng)]
    chosen = list(dict.fromkeys(point for point, _ in points))
    why = dict(reversed(points))
    made = [
        Variant("suffix", point, later(main, point, trace.tokens, documents).replaced, why[point])
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

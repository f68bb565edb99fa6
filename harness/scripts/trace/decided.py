"""Decisions by losses, as a run told them: which operation, where, and of which targets' losses it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.scripts.trace.observed import Ints
from harness.scripts.trace.passes import Pass
from harness.scripts.trace.reading import ScriptTrace

#: A decision made of this share of a pass chooses among whole evaluations, which is another matter.
WHOLE = 0.9


@dataclass(frozen=True, eq=False)
class Decision:
    """One outcome of a comparison, a minimum, an index of the smallest.

    Attributes:
        name: the operation.
        place: where in the script, innermost first.
        call: the number of the call there, from 0.
        element: which of the call's outcomes, from 0.
        seq: when.
        positions: int64, sorted: the targets whose losses it was made of.
        rivals: losses are compared with each other at this place, not with a number of another kind.
        varied: at this place it came out one way and the other, or it is no comparison.
    """

    name: str
    place: str
    call: int
    element: int
    seq: int
    positions: Ints
    rivals: bool
    varied: bool

    @property
    def site(self) -> tuple[str, str]:
        """What all calls at one place have in common."""
        return self.name, self.place

    @property
    def told_apart(self) -> tuple[str, str, int, int]:
        """This decision and no other of the run."""
        return self.name, self.place, self.call, self.element

    @property
    def certain(self) -> bool:
        """The other outcome is one that the script may well meet, not what a guard keeps from happening."""
        return self.rivals or self.varied

    @property
    def told(self) -> dict[str, Any]:
        """What the box must know to turn it."""
        return {"name": self.name, "place": self.place, "call": self.call, "element": self.element}


def decisions(read: ScriptTrace, scored: Pass) -> list[Decision]:
    """The decisions of a run that may have chosen what a pass charges, in order of time.

    Those are left out that were made after the pass was read, of other targets alone, or of nearly all of them.
    """
    covered = np.unique(scored.position[scored.position >= 0])
    return [
        made
        for made in _all(read)
        if made.seq <= scored.seq and 0 < np.isin(made.positions, covered).sum() < WHOLE * len(covered)
    ]


def whole(read: ScriptTrace, scored: Pass) -> list[Decision]:
    """Decisions in which the scores of whole evaluations are held against each other, in order of time."""
    covered = np.unique(scored.position[scored.position >= 0])
    return [
        made for made in _all(read) if made.rivals and np.isin(made.positions, covered).sum() >= WHOLE * len(covered)
    ]


def _all(read: ScriptTrace) -> list[Decision]:
    """Every decision that a run told, in order of time."""
    found = []
    for row in read.facts.get("decisions", []):
        if not isinstance(row, Mapping):
            continue
        parts = [np.arange(first, min(end, read.tokens)) for first, end in row["positions"] if end > first]
        positions = np.unique(np.concatenate([np.zeros(0, np.int64), *parts])).astype(np.int64)
        told = {name: row[name] for name in ("name", "place", "call", "element", "seq")}
        found.append(Decision(**told, positions=positions, rivals=bool(row["rivals"]), varied=bool(row["varied"])))
    return sorted(found, key=lambda item: item.seq)

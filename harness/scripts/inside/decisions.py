"""Decisions: where losses say yes or no, or which of several; they are written down, and one of them can be turned.

A comparison, a minimum, the index of the smallest: what becomes of it may decide which of two losses of a token is
charged, by an operation, a mask, an index or an `if`. None of these is followed. Instead the referee runs the script
again with a single decision turned into its opposite, and looks at which charges are others. That needs to know which
targets a decision is made of, and no more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.scripts.inside.atoms import Ints

if TYPE_CHECKING:
    from harness.scripts.inside.book import Book

#: Calls of one site whose marks are kept, and what all of them may hold.
_CALLS = 4096
_ELEMENTS = 4_000_000
#: Decisions of one site that are told.
_TOLD = 24
#: Runs of positions that one decision may be told with; a decision of more scattered ones is told with the last.
_RUNS = 64
#: The lower or the higher of two, element by element.
EXTREMES = set("minimum maximum fmin fmax clamp clamp_min clamp_max".split())


@dataclass
class _Site:
    """One operation at one place.

    Attributes:
        rivals: readings are compared with each other, not with a number of another kind.
        met: how often it came by.
        calls: seq, number, and marks [elements, operands] of the calls that were kept.
        outcomes: what came out so far, True or False; empty for what is no comparison.
    """

    rivals: bool = False
    met: int = 0
    calls: list[tuple[int, int, Ints]] = field(default_factory=list)
    outcomes: set[bool] = field(default_factory=set)


@dataclass(frozen=True)
class Turn:
    """The decision to turn: operation, place, the number of the call there, and which of its elements."""

    name: str
    place: str
    call: int
    element: int


class Decisions:
    """All decisions of one run.

    Args:
        turn: the one to turn; None for none.
    """

    def __init__(self, turn: Turn | None = None) -> None:
        self.turn = turn
        self.turned = 0
        self._sites: dict[tuple[str, int], _Site] = defaultdict(_Site)
        self._elements = 0

    def met(
        self, book: Book, name: str, marks: Ints, outcome: np.ndarray[Any, Any] | None = None, rivals: bool = True
    ) -> int | None:
        """Losses decide something.

        Args:
            book: in which their marks are.
            name: the operation.
            marks: int64 [elements, operands], what each outcome is made of.
            outcome: bool [elements] of a comparison.
            rivals: whether readings are compared with each other.

        Returns:
            The element to turn, if this is the decision that is to be turned.
        """
        place = book.places.here()
        site = self._sites[name, place]
        number, site.met = site.met, site.met + 1
        site.rivals |= rivals
        if outcome is not None:
            known = outcome.reshape(-1)[(marks != -1).any(1)]
            site.outcomes |= {bool(value) for value in (known.any(), known.all())} if len(known) else set()
        if len(site.calls) < _CALLS and self._elements + marks.size <= _ELEMENTS:
            self._elements += marks.size
            site.calls.append((book.tick(), number, np.array(marks, np.int64)))
        turn = self.turn
        if turn is None or (turn.name, turn.call) != (name, number) or turn.place != book.places.texts[place]:
            return None
        self.turned += 1
        return turn.element if turn.element < len(marks) else None

    def told(self, book: Book) -> list[dict[str, Any]]:
        """Some decisions of every site, spread over the run."""
        rng = np.random.default_rng(0)
        rows = []
        for (name, place), site in self._sites.items():
            if not site.calls:
                continue
            picks = np.unique(np.linspace(0, len(site.calls) - 1, _TOLD).round().astype(int))
            each = max(1, _TOLD // len(picks))
            for index in picks.tolist():
                seq, number, marks = site.calls[index]
                usable = np.flatnonzero((marks != -1).any(1))
                for element in np.sort(rng.permutation(usable)[:each]).tolist():
                    positions = self._positions(book, marks[element])
                    if positions:
                        rows.append({
                            "name": name, "place": book.places.texts[place], "call": number, "element": element,
                            "seq": seq, "positions": positions, "rivals": int(site.rivals),
                            "varied": int(len(site.outcomes) != 1),
                        })  # fmt: skip
        return rows

    @staticmethod
    def _positions(book: Book, marks: Ints) -> list[list[int]]:
        """Positions below some marks, as [first, past the last] runs."""
        atoms, _ = book.atoms.expand(marks, np.ones(len(marks)))
        at = np.unique(book.atoms.positions(atoms))
        at = at[at >= 0]
        if not len(at):
            return []
        cuts = np.flatnonzero(np.diff(at) != 1) + 1
        firsts, lasts = at[np.concatenate([[0], cuts])], at[np.concatenate([cuts - 1, [len(at) - 1]])]
        return [[int(a), int(b) + 1] for a, b in zip(firsts, lasts, strict=True)][-_RUNS:]


def spread(marks: Sequence[Ints], shape: tuple[int, ...]) -> Ints:
    """Marks of several operands side by side, int64 [elements, operands]."""
    return np.stack([np.broadcast_to(own, shape).reshape(-1) for own in marks], 1)

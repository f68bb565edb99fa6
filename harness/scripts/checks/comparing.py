"""One pass against the same pass of another run, in the script's own order of processing.

Rows before the first replaced token may not move. The first replaced token's own row may not move either: its NLL has
to be what the row of the base run gives the other token. Some row after it has to move, or the flip had no teeth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.scripts.trace.observed import Floats, Ints
from harness.scripts.trace.passes import MIXED, Pass

#: Nats by which a row may differ when it is computed by another operation: the alternative token's NLL is read from
#: the row itself, the flipped run's from the loss that the script calls.
SAME_ROW = 1e-3


@dataclass(frozen=True)
class Comparison:
    """What a flip did to a pass.

    Attributes:
        aligned: both runs scored the same positions in the same order up to the first replaced token.
        cut: index of the first scored token that was replaced, in order of processing; the number of atoms if none.
        compared: rows before it.
        position: int64 [k], positions of rows before it that moved.
        before, after: float64 [k], what they charged in the base run and then.
        largest: largest change before the cut, nats; inf where only one of the two is a number.
        own: (position, NLL that the base row gives the other token, NLL when flipped) for the first replaced token;
            infinite where a row thinks it impossible; None where it is not known or the script charged something else
            than its row.
        switched: whatever moved before the cut, or at it, moved to what another reading of the same target (another
            temperature, another model) had said in the base run: which of them is charged depends on later tokens, the
            rows do not.
        effects: (position, change) of rows after it that moved, a sample.
        control: rows after the first replaced token that moved: they saw it in their context.
    """

    aligned: bool
    cut: int
    compared: int
    position: Ints
    before: Floats
    after: Floats
    largest: float
    own: tuple[int, float, float] | None
    switched: bool
    effects: tuple[tuple[int, float], ...]
    control: int

    def moved(self, tolerance: float) -> list[tuple[int, float, float]]:
        """Rows before the cut that moved by more, largest change first: (position, before, after)."""
        change = np.nan_to_num(np.abs(self.after - self.before), nan=np.inf)
        at = np.flatnonzero(change > tolerance)
        at = at[np.argsort(-change[at], kind="stable")]
        return [(int(self.position[i]), float(self.before[i]), float(self.after[i])) for i in at]

    def own_moved(self, tolerance: float) -> bool:
        """Whether the first replaced token's row depends on the token itself."""
        return self.own_change > tolerance

    @property
    def own_change(self) -> float:
        """By how much the first replaced token's own row moved, nats; inf where it let the token in or shut it out."""
        if self.own is None or self.own[1] == self.own[2]:  # impossible in both is no change
            return 0.0
        return abs(self.own[1] - self.own[2])


def compare(base: Pass, other: Pass, replaced: NDArray[np.bool_]) -> Comparison:
    """Compare two passes.

    Args:
        base: of the base run.
        other: of the changed run.
        replaced: bool [tokens], which tokens of the stream were replaced.
    """
    hit = _inside(base.position, replaced)
    cut = int(np.argmax(hit)) if hit.any() else len(base.position)
    aligned = len(other.position) >= cut and bool((other.position[:cut] == base.position[:cut]).all())
    if not aligned:
        nothing = np.zeros(0)
        return Comparison(False, cut, 0, nothing.astype(np.int64), nothing, nothing, float("inf"), None, False, (), 0)
    old, new = base.charged[:cut], other.charged[:cut]
    different = (old != new) & ~(np.isnan(old) & np.isnan(new))
    at = np.flatnonzero(different)
    change = np.nan_to_num(np.abs(new[at] - old[at]), nan=np.inf)
    effects, control = _effects(base, other, hit, cut)
    return Comparison(
        aligned=True,
        cut=cut,
        compared=cut,
        position=base.position[at],
        before=old[at],
        after=new[at],
        largest=float(change.max(initial=0.0)),
        own=_own(base, other, cut),
        switched=_switched(base, other, at, cut),
        effects=effects,
        control=control,
    )


def _own(base: Pass, other: Pass, cut: int) -> tuple[int, float, float] | None:
    if cut >= len(base.position) or cut >= len(other.position) or base.position[cut] != other.position[cut]:
        return None
    wanted, got = float(base.alternative[cut]), float(other.nll[cut])
    if np.isnan(wanted) or np.isnan(got):
        return None
    if got == float(base.nll[cut]):  # the target was not replaced after all: a copy that the edit missed
        return None
    # A mixture's row is not the row that the alternative was read from.
    if any(_altered(float(p.charged[cut]), float(p.nll[cut])) for p in (base, other)):
        return None
    return int(base.position[cut]), wanted, got


def _switched(base: Pass, other: Pass, moved: Ints, cut: int) -> bool:
    """See `Comparison.switched`; `moved` are the indices that moved before the cut."""
    with np.errstate(invalid="ignore"):
        rows = np.abs(other.nll[moved] - base.other[moved]) <= MIXED * (1 + np.abs(base.other[moved]))
        if cut >= min(len(base.position), len(other.position)):
            return bool(rows.all())
        own = [abs(float(other.nll[cut]) - float(said[cut])) for said in (base.alternative, base.other_alternative)]
    return bool(rows.all()) and min(own) <= SAME_ROW


def _altered(charged: float, nll: float) -> bool:
    """Whether something else was charged than the row gives; infinite for infinite is the same."""
    return charged != nll and not abs(charged - nll) <= MIXED * (1 + abs(nll))


def _effects(base: Pass, other: Pass, hit: NDArray[np.bool_], cut: int) -> tuple[tuple[tuple[int, float], ...], int]:
    """Rows after the cut whose distribution moved. A replaced token is compared with its alternative's NLL."""
    size = min(len(base.position), len(other.position))
    after = np.arange(cut + 1, size)
    after = after[base.position[after] == other.position[after]]
    expected = np.where(hit[after], base.alternative[after], base.nll[after])
    with np.errstate(invalid="ignore"):
        change = np.abs(other.nll[after] - expected)
    moved = np.isfinite(change) & (change > 1e-6)
    sample = after[moved][:: max(1, int(moved.sum()) // 40)]
    return (
        tuple(
            (int(base.position[i]), float(c))
            for i, c in zip(sample, change[moved][:: max(1, int(moved.sum()) // 40)], strict=True)
        ),
        int(moved.sum()),
    )


def _inside(position: Ints, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    inside = (position >= 0) & (position < len(mask))
    out = np.zeros(len(position), bool)
    out[inside] = mask[position[inside]]
    return out

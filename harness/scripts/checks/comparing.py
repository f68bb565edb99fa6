"""One pass against the same pass of another run, in the script's own order of processing.

Rows before the first replaced token may not move. The first replaced token's own row may not move either: its NLL has
to be what the row of the base run gives the other token. Some row after it has to move, or the flip had no teeth. Where
many tokens are replaced, the own rows of the later ones move with what came before as the rows beside them do: one that
moves more is worth a flip of that token alone, and no more than that.
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
        rounding: changes up to this vanish in float64, nats.
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
    rounding: float = 0.0

    def moved(self, tolerance: float) -> list[tuple[int, float, float]]:
        """Rows before the cut that moved by more, largest change first: (position, before, after)."""
        change = np.nan_to_num(np.abs(self.after - self.before), nan=np.inf)
        at = np.flatnonzero(change > max(tolerance, self.rounding))
        at = at[np.argsort(-change[at], kind="stable")]
        return [(int(self.position[i]), float(self.before[i]), float(self.after[i])) for i in at]

    def own_moved(self, tolerance: float) -> bool:
        """Whether the first replaced token's row depends on the token itself."""
        return self.own_change > max(tolerance, self.rounding)

    @property
    def own_change(self) -> float:
        """By how much the first replaced token's own row moved, nats; inf where it let the token in or shut it out."""
        if self.own is None or self.own[1] == self.own[2]:  # impossible in both is no change
            return 0.0
        return abs(self.own[1] - self.own[2])


#: Rows before a replaced token that its own row is held against, without as many next to the replaced token before it.
_BESIDE, _NEXT = 8, 3
#: How much more than those an own row has to move to be suspicious; and by how many standard errors all together.
_TIMES, _ERRORS = 3.0, 5.0
_FEW = 20


@dataclass(frozen=True)
class OwnRows:
    """The own rows of tokens that were replaced together, in order of processing.

    Attributes:
        position: int64 [k].
        gain: float64 [k], nats by which the new token was likelier in its own run than the base row says; infinite
            where only one of the two thinks it possible.
        beside: float64 [k], the largest move of the rows just before it, nats; NaN where there are none.
        drift: mean gain of all rows that were not replaced, nats.
    """

    position: Ints
    gain: Floats
    beside: Floats
    drift: float

    def suspicious(self) -> dict[int, float]:
        """{position: how much more its own row moved than those beside it}, for rows that stand out.

        Where all together moved to the good of what came, each by less than the rows beside it, those that moved most.
        """
        size = np.abs(self.gain)
        with np.errstate(invalid="ignore"):
            times = np.where(np.isinf(size), np.inf, size / np.maximum(self.beside, SAME_ROW / _TIMES))
        out = (size > SAME_ROW) & (times > _TIMES)
        finite = np.isfinite(self.gain)
        if finite.sum() >= _FEW and not out.any():
            gain = self.gain[finite] - self.drift
            error = float(gain.std(ddof=1)) / np.sqrt(len(gain))
            if gain.mean() > max(_ERRORS * error, SAME_ROW):
                out = finite & (self.gain >= np.quantile(self.gain[finite], 0.9))
        return {int(p): float(t) for p, t in zip(self.position[out], times[out], strict=True)}


def own_rows(base: Pass, other: Pass, replaced: NDArray[np.bool_]) -> OwnRows:
    """What replacing many tokens at once did to their own rows.

    Rows that charge something else than they give, and tokens that a copy kept, are left out.

    Args:
        base: of the base run.
        other: of the run in which tokens were replaced.
        replaced: bool [tokens], which.
    """
    size = min(len(base.position), len(other.position))
    differs = np.flatnonzero(base.position[:size] != other.position[:size])
    size = int(differs[0]) if len(differs) else size
    hit = _inside(base.position[:size], replaced)
    with np.errstate(invalid="ignore"):
        moved = base.nll[:size] - other.nll[:size]
        gain = np.where(base.alternative[:size] == other.nll[:size], 0.0, base.alternative[:size] - other.nll[:size])
    mixed = _altered(base.charged[:size], base.nll[:size]) | _altered(other.charged[:size], other.nll[:size])
    usable = hit & ~mixed & ~np.isnan(gain) & (other.nll[:size] != base.nll[:size])
    at = np.flatnonzero(usable)
    event, beside, before = base.event[:size], np.full(len(at), np.nan), -1
    for index, own in enumerate(at.tolist()):
        rows = np.arange(max(before + 1 + _NEXT if before >= 0 else 0, own - _BESIDE), own)
        same = rows[event[rows] == event[own]]
        rows = same if len(same) >= _NEXT or (event == event[own]).sum() > _BESIDE else rows
        known = np.abs(moved[rows])[np.isfinite(moved[rows])]
        beside[index] = known.max() if len(known) else np.nan
        before = own
    rest = moved[~hit & np.isfinite(moved)]
    return OwnRows(base.position[at], gain[at], beside, float(rest.mean()) if len(rest) else 0.0)


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
    if any(_altered(p.charged[cut : cut + 1], p.nll[cut : cut + 1]).any() for p in (base, other)):
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


def _altered(charged: Floats, nll: Floats) -> NDArray[np.bool_]:
    """Whether something else was charged than the row gives; infinite for infinite is the same."""
    with np.errstate(invalid="ignore"):
        return np.asarray((charged != nll) & ~(np.abs(charged - nll) <= MIXED * (1 + np.abs(nll))))


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

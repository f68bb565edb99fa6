"""The passes of a run over the validation stream, found from the numbers that left it.

A report that a larger report contains is a running total of it. Reports of one place that each cover a part of the
stream (a sum kept in a Python float) are fragments of one pass, until their positions start over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.scripts.trace import observed
from harness.scripts.trace.lines import Printed
from harness.scripts.trace.observed import Floats, Ints, Observed

#: Share of the stream's targets that a pass must cover to be one; less is a probe or a training loss.
FULL = 0.5

#: Relative difference from which a charge is not its row's NLL: float32 arithmetic stays below.
MIXED = 1e-5


@dataclass(frozen=True)
class Pass:
    """One scoring of the validation stream, atom by atom in the order of the script's own processing.

    Attributes:
        name: what the script's own lines call it, in a few words.
        place: where in the script the loss was read.
        scored_at: where most of its tensor operations were.
        seq: when the last of its reports was made.
        reports: how many numbers it was reported in.
        position: int64 [n], target positions; -1 where one could not be located.
        token: int64 [n], what was charged for there; -1 where that is not known.
        nll: float64 [n], nats, as the row had it.
        charged: float64 [n], nats, what the position added to the reported loss; differs from `nll` in mixtures.
        lse: float64 [n], see `Observed.atom_lse`.
        alternative: float64 [n], NLL of the alternative token in the same row.
        other: float64 [n], NLL of the other reading of the same target in the same batch (another temperature, another
            model); NaN where there is none or there are several.
        other_alternative: float64 [n], NLL of the alternative token in that reading's row.
        drawn: int64 [n], a token drawn from the row, -1 for none.
        event: int64 [n], index of the tensor operation.
        event_seq: int64 [n], when that was.
        grad: bool [n], made while gradients were on.
        logit: bool [n], read from a row of logits: its `lse` is what the script has to subtract, and no excess.
        kinds: names of the operations.
        value: the reported loss, nats per token; NaN if the number was none (an array left, for example).
        error: relative difference between `value` and the atoms' own mean; NaN if there is no value.
        printed: the line that shows this loss, None if none does.
        print_error: relative difference between the printed loss and the atoms' mean; NaN without a line.
        targets: of the whole stream; 0 where that is not known.
    """

    name: str
    place: str
    scored_at: str
    seq: int
    reports: int
    position: Ints
    token: Ints
    nll: Floats
    charged: Floats
    lse: Floats
    alternative: Floats
    other: Floats
    other_alternative: Floats
    drawn: Ints
    event: Ints
    event_seq: Ints
    grad: NDArray[np.bool_]
    logit: NDArray[np.bool_]
    kinds: tuple[str, ...]
    value: float
    error: float
    printed: Printed | None = None
    print_error: float = float("nan")
    targets: int = 0

    @property
    def spread(self) -> float:
        """Nats over all targets of the stream, where some are never charged (dropped or masked); NaN where none is."""
        if not self.unique() < self.targets:
            return float("nan")
        return float(self.charged.sum()) / self.targets

    @property
    def mean(self) -> float:
        """Nats per scored token, as charged."""
        return float(self.charged.mean()) if len(self.charged) else float("nan")

    @property
    def modified(self) -> int:
        """Atoms whose contribution is not their row's NLL: a mixture, a cap, a choice between two."""
        with np.errstate(invalid="ignore"):  # infinite for infinite is no difference
            return int((np.abs(self.charged - self.nll) > MIXED * (1 + np.abs(self.nll))).sum())

    @property
    def lowered(self) -> NDArray[np.bool_]:
        """Bool [n]: atoms that were charged less than their row gives."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.charged < self.nll - MIXED * (1 + np.abs(self.nll)))

    @property
    def unlocated(self) -> int:
        """Atoms without a position."""
        return int((self.position < 0).sum())

    def rank(self, tokens: int) -> Ints:
        """int64 [tokens]: the place of each position in the order of processing (first scoring), -1 for never."""
        rank = np.full(tokens, -1, np.int64)
        inside = (self.position >= 0) & (self.position < tokens)
        at = np.flatnonzero(inside)[::-1]  # the first scoring is written last
        rank[self.position[at]] = at
        return rank

    def unique(self) -> int:
        """Different positions."""
        return len(np.unique(self.position[self.position >= 0]))


@dataclass
class _Group:
    place: int
    seq: int
    atoms: list[Ints]
    charged: list[Floats]
    value: float
    error: float
    born: dict[int, int] = field(default_factory=dict)


def find(seen: Observed, tokens: int) -> list[Pass]:
    """All passes in the order in which they were reported, without names and lines.

    Args:
        seen: the run.
        tokens: length of the validation stream.
    """
    groups: list[_Group] = []
    for same in _outermost(seen):
        _add(groups, seen, same)
    full = FULL * (tokens - 1)
    return [_pass(group, seen, tokens - 1) for group in groups if len(group.born) >= full]


def _outermost(seen: Observed) -> list[list[int]]:
    """Reports that no larger report contains, in order of time; those with the same atoms stand together."""
    sizes = np.diff(seen.report_start)
    owner = np.full(len(seen.atom_nll), -1, np.int64)
    kept: dict[int, list[int]] = {}
    for report in (int(r) for r in np.lexsort((seen.report_seq, -sizes))):
        atoms = _atoms(seen, report)
        if not len(atoms):
            continue
        first = int(owner[atoms[0]])
        if first >= 0 and sizes[first] == sizes[report] and (owner[atoms] == first).all():
            kept[first].append(report)
        elif (owner[atoms] < 0).any():
            owner[atoms] = report
            kept[report] = [report]
    return [kept[report] for report in sorted(kept, key=lambda report: int(seen.report_seq[report]))]


def _atoms(seen: Observed, report: int) -> Ints:
    return seen.report_atom[seen.report_start[report] : seen.report_start[report + 1]]


def _add(groups: list[_Group], seen: Observed, same: list[int]) -> None:
    atoms = _atoms(seen, same[0])
    readings = []
    for report in same:  # a loss and the BPB that is made from it have the same atoms; the loss matches their sum
        weights = seen.report_weight[seen.report_start[report] : seen.report_start[report + 1]]
        charged = _without_factor(weights, seen.atom_nll[_atoms(seen, report)])
        readings.append((*_matched(float(seen.report_value[report]), charged), report))
    value, error, report = min(readings, key=lambda reading: (not reading[1] == reading[1], reading[1]))
    atoms = _atoms(seen, report)
    charged = _without_factor(
        seen.report_weight[seen.report_start[report] : seen.report_start[report + 1]], seen.atom_nll[atoms]
    )
    positions = [int(p) for p in np.unique(seen.atom_position[atoms]) if p >= 0]
    if not positions:
        return
    place = int(seen.report_place[report])
    group = groups[-1] if groups else None
    if group is None or group.place != place or _starts_over(group, positions):
        group = _Group(place, 0, [], [], 0.0, 0.0)
        groups.append(group)
    group.seq = int(seen.report_seq[report])
    group.value += value
    group.error = max(group.error, error) if error == error else error
    for position in positions:
        group.born.setdefault(position, len(group.born))
    group.atoms.append(atoms)
    group.charged.append(charged)


def _starts_over(group: _Group, positions: list[int]) -> bool:
    """Whether a fragment goes back to what the pass began with; the tail may be scored twice in one pass."""
    again = [group.born[position] for position in positions if position in group.born]
    return len(again) > len(positions) / 2 and float(np.median(again)) <= len(group.born) / 2


def _without_factor(weight: Floats, nll: Floats) -> Floats:
    """Contributions in nats: a factor that all share (1/count, 1/log 2) is taken out."""
    usable = np.isfinite(weight) & np.isfinite(nll) & (np.abs(nll) > 1e-6)
    if not usable.any():
        return np.array(nll)
    ratio = weight[usable] / nll[usable]
    factor = float(np.median(ratio))
    same = factor > 0 and float(np.abs(ratio - factor).max()) <= 1e-4 * factor
    return weight / factor if same and abs(factor - 1) > 1e-6 else np.array(weight)


def _matched(value: float, charged: Floats) -> tuple[float, float]:
    """(sum in nats that the report stands for, relative error): the number may be a sum, a mean, or either in bits."""
    if not len(charged) or not np.isfinite(value):
        return float("nan"), float("nan")
    total = float(charged.sum())
    best = (float("nan"), float("inf"))
    for factor in (1.0, 1.0 / len(charged), 1 / np.log(2), 1 / np.log(2) / len(charged)):
        wanted = total * factor
        error = abs(value - wanted) / max(abs(wanted), 1e-12)
        if error < best[1]:
            best = (value / factor, float(error))
    return best


def _batches(seen: Observed) -> tuple[Ints, Ints]:
    """When each event's batch was done, and each atom's turn in its batch.

    Two readings of the same targets one after the other (two temperatures) are one batch: which of them is charged does
    not change the order in which targets are scored.
    """
    when = np.array(seen.event_seq)
    turn = np.arange(len(seen.atom_event))
    if (np.diff(seen.atom_event) < 0).any():
        return when, turn
    starts = np.searchsorted(seen.atom_event, np.arange(len(when) + 1))
    for event in range(len(when) - 2, -1, -1):
        own, following = (slice(starts[at], starts[at + 1]) for at in (event, event + 1))
        same = starts[event + 1] - starts[event] == starts[event + 2] - starts[event + 1] > 0
        side = observed.rank_of(when[event : event + 2])
        if same and side[0] == side[1] and np.array_equal(seen.atom_position[own], seen.atom_position[following]):
            when[event], turn[own] = when[event + 1], turn[following]
    return when, turn


def _mates(turn: Ints) -> Ints:
    """For each atom the one that has the same turn, -1 where it is alone or there are several."""
    order = np.argsort(turn, kind="stable")
    values, first, count = np.unique(turn[order], return_index=True, return_counts=True)
    mate = np.full(len(turn), -1, np.int64)
    pairs = first[count == 2]
    mate[order[pairs]], mate[order[pairs + 1]] = order[pairs + 1], order[pairs]
    return mate


def _processed(when: Ints, atoms: Ints, position: Ints) -> Ints:
    """Order of processing. What ranks did side by side goes by position, if each of them went from left to right.

    A target without a position stands where the one before it on its rank does.
    """
    order = np.lexsort((atoms, when))
    ranks = observed.rank_of(when)
    if (ranks == ranks[0]).all():
        return order
    epoch, rank, where = observed.epoch_of(when)[order], ranks[order], position[order]
    for one in np.unique(rank):
        known = np.where(where[rank == one] >= 0, np.arange((rank == one).sum()), -1)
        last = np.maximum.accumulate(known)
        where[rank == one] = np.where(last >= 0, where[rank == one][last], -1)
        own, turn = where[rank == one], epoch[rank == one]
        if ((np.diff(own) < 0) & (np.diff(turn) == 0)).any():
            return order
    return order[np.lexsort((np.arange(len(order)), where, epoch))]


def _pass(group: _Group, seen: Observed, targets: int) -> Pass:
    atoms, charged = np.concatenate(group.atoms), np.concatenate(group.charged)
    event = seen.atom_event[atoms]
    when, turn = _batches(seen)
    mate = _mates(turn)[atoms]
    order = _processed(when[event], turn[atoms], seen.atom_position[atoms])
    atoms, charged, event, mate = atoms[order], charged[order], event[order], mate[order]
    names = [seen.kinds[kind] for kind in np.unique(seen.event_kind[event])]
    return Pass(
        name="",
        place=seen.places[group.place],
        scored_at=seen.places[int(np.bincount(seen.event_place[event]).argmax())],
        seq=group.seq,
        reports=len(group.atoms),
        position=seen.atom_position[atoms],
        token=seen.atom_token[atoms],
        nll=seen.atom_nll[atoms],
        charged=charged,
        lse=seen.atom_lse[atoms],
        alternative=seen.atom_alternative[atoms],
        other=np.where(mate >= 0, seen.atom_nll[mate], np.nan),
        other_alternative=np.where(mate >= 0, seen.atom_alternative[mate], np.nan),
        drawn=seen.atom_drawn[atoms],
        event=event,
        event_seq=seen.event_seq[event],
        grad=seen.event_grad[event].astype(bool),
        logit=np.array([kind.endswith("logit") for kind in seen.kinds] or [False])[seen.event_kind[event]],
        kinds=tuple(names),
        value=group.value / len(atoms),
        error=group.error,
        targets=targets,
    )

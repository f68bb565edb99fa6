"""What the recorder writes down while the script runs, and how it becomes an `Observed`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.scripts.inside.atoms import Atoms, Column, Floats, Ints
from harness.scripts.inside.decisions import Decisions, Turn
from harness.scripts.inside.locate import Locator
from harness.scripts.inside.places import Places
from harness.scripts.inside.shadows import Shadows
from harness.scripts.trace import observed
from harness.scripts.trace.observed import Observed

#: Entries that all reports together may have; beyond it, a report that a later one contains is left out.
REPORT_ENTRIES = 20_000_000

_numpy = torch.Tensor.numpy  # the recorder patches it


def integers(tensor: Tensor) -> Ints:
    """An integer tensor as int64 numpy."""
    return np.asarray(_numpy(tensor.detach().to("cpu", torch.int64)))


def floats(tensor: Tensor) -> Floats:
    """A float tensor as float64 numpy."""
    return np.asarray(_numpy(tensor.detach().to("cpu", torch.float64)))


class Book:
    """Events, reports, trainings, steps, printed lines and what could not be followed, in one order."""

    def __init__(self, locator: Locator, places: Places, rank: int = 0, turn: Turn | None = None) -> None:
        self.rank = rank
        self.locator = locator
        self.places = places
        self.atoms = Atoms()
        self.shadows = Shadows()
        self.active = False  # False: outside the script, or inside the recorder
        self.in_backward = 0
        self.gradients = True  # whether the script has them on in the operation that is looked at
        self.seq = observed.floor(0, rank)
        self.pending: set[int] = set()  # events that read logits, whose normaliser is not known yet
        self.hooks: dict[int, Callable[[], None]] = {}
        self.unknown: Counter[tuple[str, int]] = Counter()
        self.decisions = Decisions(turn)
        self.left: set[int] = set()  # marks of single numbers that were reported
        self._kinds: dict[str, int] = {}
        self.events = 0
        self._event = [Column(np.int64) for _ in range(4)]  # seq, kind, place, grad
        self._reports: list[tuple[int, Ints, Floats, float, int]] = []
        self._trainings: list[tuple[int, int, int, Ints]] = []
        self._foreign: list[tuple[int, int, int, Ints]] = []  # trainings of other ranks
        self._steps: list[tuple[int, int]] = []
        self._printed: list[tuple[int, str]] = []

    def tick(self) -> int:
        """The next number of the common order."""
        self.seq += 1
        return self.seq

    def next_epoch(self, epoch: int) -> None:
        """Ranks have exchanged something: what comes is later than all that any of them did."""
        self.seq = observed.floor(epoch, self.rank)

    def kind(self, name: str) -> int:
        """Index of a name in `kinds`."""
        return self._kinds.setdefault(name, len(self._kinds))

    def miss(self, name: str) -> None:
        """Something that atoms went into, or the recorder itself, could not be followed."""
        self.unknown[name, self.places.here()] += 1

    def locate(self, ids: Ints, scored: bool = False) -> Ints | None:
        """Positions of target ids at the place that runs now, -1 where one is not located.

        Args:
            ids: of the targets.
            scored: they are targets for certain, and not trained on: none of them may be located.

        Returns:
            None where none is located, unless they are `scored`.
        """
        before = self.locator.misaligned
        found = self.locator.locate(ids, self.places.texts[self.places.here()])
        if self.locator.misaligned > before:
            self.miss("replay: other calls than in the recorded run")
        return np.full(ids.shape, -1, np.int64) if found is None and scored else found

    def mint(
        self,
        kind: str,
        positions: Ints,
        nll: Floats,
        lse: Floats | None,
        alternative: Floats | None,
        keep: Ints | None = None,
        drawn: Ints | None = None,
        token: Ints | None = None,
    ) -> Ints:
        """One event. All arrays of one shape, which is also that of the marks; `keep` false: masked, no atom.

        A target that could not be located is an atom all the same: it may be charged, and then is no target of the
        stream's.
        """
        hook = self.hooks.pop(self.events, None)
        if hook is not None:
            was, self.active = self.active, False
            try:
                hook()
            finally:
                self.active = was
        shape = positions.shape
        kept = np.ones(positions.size, bool) if keep is None else keep.reshape(-1).astype(bool)

        def flat(values: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if values is None else values.reshape(-1)[kept]

        event = self._add_event(self.tick(), self.kind(kind), self.places.here(), int(torch.is_grad_enabled()))
        marks = np.full(positions.size, -1, np.int64)
        values = nll.reshape(-1)[kept]
        marks[kept] = self.atoms.mint(
            positions.reshape(-1)[kept], values, flat(lse), flat(alternative), event, flat(drawn), flat(token)
        )
        return marks.reshape(shape)

    def _add_event(self, *row: int) -> int:
        for column, value in zip(self._event, row, strict=True):
            column.extend([value])
        self.events += 1
        return self.events - 1

    def event_rows(self, events: Ints) -> list[list[Any]]:
        """For another rank: [seq, kind, place, grad] of each event."""
        kinds = list(self._kinds)
        rows = zip(*(column.values[events].tolist() for column in self._event), strict=True)
        return [[seq, kinds[kind], self.places.texts[place], grad] for seq, kind, place, grad in rows]

    def adopt_event(self, seq: int, kind: str, place: str, grad: int) -> int:
        """Note an event of another rank; its number here."""
        return self._add_event(seq, self.kind(kind), self.places.number(place), grad)

    def trainings_from(self, first: int) -> list[tuple[int, str, str, Ints]]:
        """For another rank: (seq, what, place, positions) of this rank's own trainings from number `first` on."""
        kinds = list(self._kinds)
        own = self._trainings[first:]
        return [(seq, kinds[what], self.places.texts[place], positions) for seq, what, place, positions in own]

    def adopt_training(self, seq: int, what: str, place: str, positions: Ints) -> None:
        """Note a training of another rank."""
        self._foreign.append((seq, self.kind(what), self.places.number(place), positions))

    def settle(self, marks: Ints, values: Floats) -> None:
        """A number was added to (or subtracted from) logits at their targets: now they are log-probabilities.

        Where that is not the row's own log-sum-exp (the logits were capped in between, or the normaliser is wrong), the
        NLL is what the script made, and the row counts as not seen.
        """
        if not (marks >= 0).any():
            return
        known = marks.reshape(-1) >= 0
        ids, nll = marks.reshape(-1)[known], np.abs(values.reshape(-1)[known])
        atoms = self.atoms
        events = atoms.event.values[ids]
        taken = np.isin(events, list(self.pending))
        if not taken.any():
            return
        ids, nll = ids[taken], nll[taken]
        same = np.abs(nll - atoms.nll.values[ids]) <= 1e-4 * np.maximum(nll, 1)
        atoms.nll.values[ids] = nll
        atoms.lse.values[ids] = np.where(same, 0.0, np.nan)
        atoms.alternative.values[ids[~same]] = np.nan
        self.pending -= set(events.tolist())

    def report(self, marks: Ints, values: Floats, value: float) -> None:
        """A number (or, with NaN, many at once) left torch."""
        marks = np.array(marks, np.int64).reshape(-1)
        if (marks != -1).any():
            kept = np.array(values, np.float64).reshape(-1)
            if len(marks) == 1:
                self.left.add(int(marks[0]))
            self._reports.append((self.tick(), marks, kept, value, self.places.here()))

    def training(self, what: str, positions: Ints) -> None:
        """Gradients were asked for of the NLL at these positions."""
        found = np.unique(positions[positions >= 0])
        if len(found):
            self._trainings.append((self.tick(), self.kind(what), self.places.here(full=True), found))

    def root(self, what: str, tensors: list[Tensor]) -> None:
        """As `training`, from the tensors that `backward` or `grad` was called on."""
        positions = []
        for tensor in tensors:
            marks = self.shadows.marked(tensor)
            if marks is not None:
                atoms, _ = self.atoms.expand(marks.reshape(-1), np.ones(marks.size))
                positions.append(self.atoms.positions(atoms))
        if positions:
            self.training(what, np.concatenate(positions))

    def step(self, optimizer: str) -> None:
        """An optimizer stepped."""
        self._steps.append((self.tick(), self.kind(optimizer)))

    @property
    def recent(self) -> list[str]:
        """The last lines, newest last."""
        return [text for _, text in self._printed[-8:]]

    def line(self, text: str) -> None:
        """The script printed or logged a line."""
        self._printed.append((self.tick(), text))

    def _rows(self, counted: Counter[tuple[str, int]]) -> list[dict[str, Any]]:
        return [{"name": name, "count": count, "place": self.places.texts[place]}
                for (name, place), count in counted.most_common()]  # fmt: skip

    def observed(self) -> Observed:
        """Everything so far, as the contract wants it."""
        atoms = self.atoms
        spread, dropped = self._expanded()
        decided = self.decisions.told(self)
        starts = np.concatenate([[0], np.cumsum([len(part) for _, part, _ in spread])]).astype(np.int64)
        kept = [report for report, _, _ in spread]
        trainings = [*self._trainings, *self._foreign]
        cuts = np.concatenate([[0], np.cumsum([len(row[3]) for row in trainings])]).astype(np.int64)
        return Observed(
            atom_position=atoms.position.values.copy(),
            atom_token=atoms.token.values.copy(),
            atom_nll=atoms.nll.values.copy(),
            atom_lse=atoms.lse.values.copy(),
            atom_alternative=atoms.alternative.values.copy(),
            atom_drawn=atoms.drawn.values.copy(),
            atom_event=atoms.event.values.copy(),
            event_seq=self._event[0].values.copy(),
            event_kind=self._event[1].values.copy(),
            event_place=self._event[2].values.copy(),
            event_grad=self._event[3].values.copy(),
            report_seq=_ints([row[0] for row in kept]),
            report_value=np.array([row[3] for row in kept], np.float64),
            report_place=_ints([row[4] for row in kept]),
            report_start=starts,
            report_atom=_joined([part for _, part, _ in spread], np.int64),
            report_weight=_joined([part for _, _, part in spread], np.float64),
            training_seq=_ints([row[0] for row in trainings]),
            training_what=_ints([row[1] for row in trainings]),
            training_place=_ints([row[2] for row in trainings]),
            training_start=cuts,
            training_position=_joined([row[3] for row in trainings], np.int64),
            step_seq=_ints([row[0] for row in self._steps]),
            step_what=_ints([row[1] for row in self._steps]),
            printed_seq=_ints([row[0] for row in self._printed]),
            kinds=list(self._kinds),
            places=list(self.places.texts),
            printed=[row[1] for row in self._printed],
            unknown=self._rows(self.unknown),
            facts={
                **({"reports_left_out": dropped} if dropped else {}),
                **({"decisions": decided} if decided else {}),
                **({"turned": self.decisions.turned} if self.decisions.turn is not None else {}),
            },
        )

    def _expanded(self) -> tuple[list[tuple[tuple[int, Ints, Floats, float, int], Ints, Floats]], int]:
        rows = []
        entries = dropped = 0
        for report in self._reports:
            atoms, weights = self.atoms.expand(report[1], report[2])
            if not len(atoms):
                continue
            if weights.sum() < 0:  # log-probabilities were summed
                weights = -weights
            rows.append((report, atoms, weights))
            entries += len(atoms)
        while entries > REPORT_ENTRIES and len(rows) > 1:  # the longest goes, but the last one stays
            index = max(range(len(rows) - 1), key=lambda i: len(rows[i][1]))
            entries -= len(rows.pop(index)[1])
            dropped += 1
        return rows, dropped


def _ints(values: list[int]) -> Ints:
    return np.array(values, np.int64)


def _joined(parts: list[NDArray[Any]], kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, kind)

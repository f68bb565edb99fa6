"""What one flip showed: the rows of a process that was told a lie, held against those of the unperturbed run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from harness.referee.rows import Scored, apart
from harness.referee.sinks import Ints
from harness.referee.source import Probe
from harness.referee.trace import Trace, first_of
from harness.sandbox.protocol import STATE, Purpose, Rows

#: Nats that a float32 row may move when the shape of its batch does: a scorer that cuts its windows at documents gives
#: such rows when a flip moves a document's start (2e-6 seen). A leak of this size is worth 1/500 of a record's margin.
ROUNDING = 1e-5

#: Nats that a row has to gain by knowing where a document starts, see `ProbeResult.above`. One position in hundreds
#: starts a document, so a leak of this size there is worth a fiftieth of a record's margin.
SHAPES = 0.05

#: Nats: a change below this may be rounding behind layers in bfloat16 (0.03 was seen); arithmetic in float64 tells.
SMALL = 0.1

#: Changed rows kept per probe: the largest changes, where there are more.
KEPT_CHANGES = 400


@dataclass
class ProbeResult:
    """What one probe showed.

    Attributes:
        probe: the lie that was told.
        ran: False when it was planned but not made (budget, or the token was never read).
        by_construction: positions committed before the split that had to stay as they are, and cannot but.
        compared: positions committed after the split that had to stay as they are, and were compared.
        violations: (position, NLL before, NLL after, largest change of a fingerprint) of rows that moved although
            they must not; NLL in nats of the real token.
        violated: how many such rows there were.
        control: positions after the flip whose rows moved, as they should.
        control_size: the largest of these changes, in NLL or fingerprint.
        controls_seen: positions after the flip that were compared.
        effects: (position, |change of NLL|) of all rows that moved, for the leak matrix.
        own: NLL of the real token at the probe's own position, before and after, where the row was compared.
        claimed: loss that was claimed for the token that was swapped in at the probe's position, nats, where that was
            all that was given.
        batch: number of the read at which the probe came due.
        error: the submission broke under the probe; one line.
        rows: rows that the probe's process committed (its cost).
        states: commits of rows that had to stay as they are, before which the state was compared.
        state_moved: (first position, last position, moved parts of `protocol.STATE`) of those where it was another.
        tolerance: changes up to this were taken for no change, see `above`.
        unconfirmed: rows that moved although they must not, and did not hold still, or did not move, when it was tried
            again; they count as no violations, and the probe as no clean one.
        withheld: positions whose rows were due and did not come, or came after rows that they should have come before;
            each counts as a row that moved. Whoever sees a lie and keeps silent has seen it.
        still: positions of replaced tokens whose own rows were compared, and did not move: what each was replaced by
            has no part in its row.
        crossed: (position, change) of rows that moved, stand before the replaced token in the stream, and were scored
            after it: they know what comes after them.
        backwards: (position, change) of rows that moved, stand after it, and were scored before it: they know what was
            not scored yet. A submission that does one of the two has a consistent order; `causality` says which counts.
        documents: the probe makes or removes a document's start, which changes how some scorers cut their batches.
        removes: it removes one.
        unread: all rows that had to stay as they are, and the states before them, were there before anything that the
            probe replaces was read: they cannot know it.
    """

    probe: Probe
    ran: bool = False
    by_construction: int = 0
    compared: int = 0
    violations: list[tuple[int, float, float, float]] = field(default_factory=list)
    violated: int = 0
    control: int = 0
    control_size: float = 0.0
    controls_seen: int = 0
    effects: list[tuple[int, float]] = field(default_factory=list)
    own: tuple[float, float] | None = None
    claimed: float | None = None
    batch: int = -1
    error: str | None = None
    rows: int = 0
    states: int = 0
    state_moved: list[tuple[int, int, tuple[str, ...]]] = field(default_factory=list)
    tolerance: float = 0.0
    unconfirmed: int = 0
    withheld: list[int] = field(default_factory=list)
    still: list[int] = field(default_factory=list)
    crossed: list[tuple[int, float]] = field(default_factory=list)
    backwards: list[tuple[int, float]] = field(default_factory=list)
    documents: bool = False
    removes: bool = False
    unread: bool = False

    def above(self, noise: float) -> ProbeResult:
        """The result with changes up to `noise` (nats, or units of a fingerprint) taken for no change.

        Where a document's start was made or removed, a scorer may cut its batches there, which rounds otherwise and
        gives the row of the start itself more or less of the text before it. What counts then is more than `SHAPES`: of
        rows before it any change, of its own what it gained by knowing.
        """
        if noise <= 0:
            return self
        if self.documents:
            least = max(noise, SHAPES)
            own = self.probe.position
            kept = [
                row for row in self.violations if (row[2] - row[1] if row[0] == own else abs(row[2] - row[1])) > least
            ]
        else:
            kept = [row for row in self.violations if max(abs(row[2] - row[1]), row[3]) > noise]
        control = self.control if self.control_size > noise else 0
        effects = [effect for effect in self.effects if effect[1] > noise]
        return replace(
            self,
            violations=kept,
            violated=len(kept) + len(self.withheld),
            control=control,
            effects=effects,
            crossed=[row for row in self.crossed if row[1] > noise],
            backwards=[row for row in self.backwards if row[1] > noise],
            tolerance=noise,
        )


def starts_agree(results: list[ProbeResult]) -> list[ProbeResult]:
    """The results, where a start's own row counts only if every flip that removed a start shows a gain in it.

    A row that gets more or less text before it gains or loses by chance; whoever is told of a start gains at each.
    """
    removed = [result for result in results if result.removes and result.ran and result.own is not None]
    if removed and all(result.violated for result in removed):
        return results
    found = []
    for one in results:
        if one.documents:
            kept = [row for row in one.violations if row[0] != one.probe.position]
            one = replace(one, violations=kept, violated=len(kept) + len(one.withheld))
        found.append(one)
    return found


class Comparator:
    """The sink of a perturbed evaluation: compares every committed row with the unperturbed run's.

    Args:
        base: the unperturbed run.
        result: what is seen goes here.
        must_hold: bool [tokens], positions whose rows may not move.
        seen: bool [tokens], positions committed before the split: a further row for one of them is a repeat.
        state: digests of the state at the split; None where they are not known.
        frontier: rows from here on were computed from other text, whatever the probe: that they move shows that the
            scorer reads, and nothing else.
    """

    def __init__(
        self,
        base: Trace,
        result: ProbeResult,
        must_hold: NDArray[np.bool_],
        seen: NDArray[np.bool_] | None = None,
        state: tuple[int, ...] | None = None,
        *,
        frontier: int | None = None,
    ) -> None:
        self._frontier = base.tokens if frontier is None else frontier
        self._base = base
        self._state = state
        self._result = result
        self._must_hold = must_hold
        self._left = int(must_hold.sum())
        self._seen = np.zeros(base.tokens, bool) if seen is None else seen.copy()
        self._after = 0  # commits with rows that may move
        self._since = 0  # commits since a row has moved that must not
        self._overtaken = -1  # base order of the latest row that may move
        self._swapped = np.array([position for position, _ in result.probe.swaps])
        # Where the order is not the stream's, rows that are scored later may tell that they know the replaced token.
        self._patience = 3 if base.in_order else 6

    def read(self, ranges: Ints, purpose: Purpose) -> None:
        """Reads of a perturbed run are not kept."""

    def update(self, steps: int, backwards: int) -> None:
        """Updates of a perturbed run are not kept."""

    def state(self, digests: tuple[int, ...]) -> None:
        """Note the state in which the next rows are committed."""
        self._state = digests

    def commit(self, positions: Ints, scored: Scored, kind: Rows) -> None:
        """Compare rows with the base trace's rows for the same positions, first commits only."""
        result, base = self._result, self._base
        self._compare_state(positions)
        result.rows += len(positions)
        fresh = first_of(positions) & ~self._seen[positions] & (base.order[positions] >= 0)
        self._seen[positions] = True
        where = positions[fresh]
        nll = np.abs(scored.nll[fresh] - base.nll[where])
        prints = apart(scored.prints[fresh], base.prints[where])
        size = np.maximum(nll, prints)
        own = np.isin(where, self._swapped)
        # A probability claimed at the flip is another token's; it is kept below, and compared with nothing.
        claimed = np.isnan(scored.prints[fresh, 0]) | np.isnan(base.prints[where, 0])
        size = np.where(own & claimed, 0.0, size)
        moved = size > 0
        held = self._must_hold[where]
        late = held & (base.order[where] < self._overtaken)
        result.withheld += [int(p) for p in where[late]]
        self._left -= int(held.sum())
        result.compared += int(held.sum())
        result.controls_seen += int((~held).sum())
        result.control += int((moved & ~held).sum())
        result.violated += int(((moved | late) & held).sum())
        result.control_size = max(result.control_size, float(size[moved & ~held].max(initial=0.0)))
        near = moved & (where < self._frontier)
        result.effects += [(int(where[i]), float(nll[i])) for i in np.flatnonzero(near)]
        for i in np.flatnonzero(moved & held & ~late):
            before, after = float(base.nll[where[i]]), float(scored.nll[fresh][i])
            result.violations.append((int(where[i]), before, after, float(prints[i])))
        at, order = result.probe.position, base.order[where]
        for rows, which in (
            (result.crossed, (where < at) & (order > base.order[at])),
            (result.backwards, (where > at) & (order < base.order[at])),
        ):
            rows += [(int(where[i]), float(size[i])) for i in np.flatnonzero(near & which & ~held)[:20]]
        for i in np.flatnonzero(own):
            if where[i] == at and np.isnan(scored.prints[fresh][i, 0]):
                result.claimed = float(scored.nll[fresh][i])
            elif where[i] == at and not claimed[i]:
                result.own = (float(base.nll[at]), float(scored.nll[fresh][i]))
            if not claimed[i] and size[i] <= ROUNDING:
                result.still.append(int(where[i]))
        _keep_largest(result)
        self._overtaken = max(self._overtaken, int(order[~held].max(initial=-1)))
        self._after += bool((~held).any())
        self._since += bool(self._since or (held & (size > ROUNDING)).any() or result.withheld)

    def _compare_state(self, positions: Ints) -> None:
        """Where no row of a commit may depend on what was replaced, the state before it may not either.

        Where one may, the state is left alone: it can hold what only that row is computed from.
        """
        if self._state is None or not self._must_hold[positions].all():
            return
        before = self._base.state_before(positions)
        if before is None:
            return
        self._result.states += 1
        moved = tuple(STATE[i] for i, (a, b) in enumerate(zip(before, self._state, strict=True)) if a != b)
        if moved:
            self._result.state_moved.append((int(positions.min()), int(positions.max()), moved))

    def enough(self) -> bool:
        """Nothing more is to be learnt.

        All rows that must hold were compared, and some that may move (a few more commits, if none has moved); or rows
        that must hold have moved, or have not come while later ones did.
        """
        if self._since > self._patience and not self._result.probe.needed:
            return True
        if self._left > 0:
            return self._after >= self._patience
        if self._result.probe.others and not self._seen[self._swapped].all():
            return False
        return self._after >= (1 if self._result.control and self._base.in_order else self._patience)

    def close(self) -> None:
        """The submission said that it was done, or has shown enough: rows that were due by then and are not here.

        A row is due when a row that the unperturbed run committed later is here.
        """
        due = self._must_hold & ~self._seen & (self._base.order < self._overtaken)
        self._result.withheld += [int(p) for p in np.flatnonzero(due)[:KEPT_CHANGES]]
        self._result.violated += int(due.sum())

    def ended(self) -> None:
        """As `close`, for an evaluation that came to its end: every row was due."""
        self._overtaken = np.iinfo(np.int64).max
        self.close()


def _keep_largest(result: ProbeResult) -> None:
    if len(result.effects) > KEPT_CHANGES:
        result.effects = sorted(result.effects, key=lambda e: (-e[1], e[0]))[:KEPT_CHANGES]
    if len(result.violations) > KEPT_CHANGES:
        ranked = sorted(result.violations, key=lambda v: (-max(abs(v[2] - v[1]), v[3]), v[0]))
        result.violations = ranked[:KEPT_CHANGES]

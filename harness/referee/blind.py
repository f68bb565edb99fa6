"""Whole evaluations that are lied to from their start, in processes that are never split.

Such a run is played just as the scored one is: a fresh box, the same calls, the same number of tokens. Nothing but the
tokens can tell the two apart, and a row that may not depend on a token that was replaced has to be the same in both.
One run carries many swaps, each so far from the next that a window holds one of them at most: a scorer that forgets
what has left its window gives the unperturbed rows again before the next one.

What such a run shows for certain: rows up to its first swap may not move, and a row that did not move does not depend
on what was replaced. A row that moved later may have moved because of an earlier swap (a scorer may learn from the
tokens that it has scored); it accuses nobody, and is asked for again, with that one swap alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.referee.comparator import ROUNDING, ProbeResult
from harness.referee.rows import apart
from harness.referee.source import Perturbed, Probe, Tokens
from harness.referee.trace import Trace

#: So many rows in a row that did not move: what was replaced before them is forgotten.
FORGOTTEN = 16

#: Rows that moved and are listed for one swap.
_LISTED = 400


@dataclass(frozen=True)
class Lie:
    """What one run is told: swaps by position, and perhaps a suffix of other text after all of them.

    Attributes:
        probes: swaps, then at most one suffix, by position.
        tokens: [N], the stream that is played, of the same type as the real one.
    """

    probes: tuple[Probe, ...]
    tokens: Tokens

    @classmethod
    def of(cls, probes: list[Probe], tokens: Tokens, bos: int, replaced: NDArray[np.bool_] | None = None) -> Lie:
        """The stream [N] with these probes applied; `replaced` as in `Perturbed`."""
        played = np.array(tokens)
        for probe in probes:
            if probe.kind == "swap":
                for position, token in probe.swaps:
                    played[position] = token
            else:
                played[probe.position :] = Perturbed(tokens, probe, replaced, bos=bos).read(probe.position, len(tokens))
        return cls(tuple(probes), played)


@dataclass
class BlindRun:
    """What one such evaluation left behind: its rows, charged for the real tokens; `error` if it broke, one line."""

    trace: Trace
    error: str | None = None


@dataclass
class Seen:
    """What a run showed.

    Attributes:
        results: one for each probe of the lie. Only the first one's can hold violations, and any row that was withheld.
        suspects: swaps whose own row, or rows before it, moved although what came before was forgotten by then.
        forgot: swaps before which enough rows in a row were what they are without any lie.
        reach: after a swap, rows until such a stretch begins; the largest.
    """

    results: list[ProbeResult] = field(default_factory=list)
    suspects: list[Probe] = field(default_factory=list)
    forgot: int = 0
    reach: int = 0


def blind_probe(
    tokens: Tokens, bos: int, rng: np.random.Generator, low: float = 0.0, high: float = 1.0
) -> Probe | None:
    """A suffix of other text, at a position drawn from a part of the stream (fractions); None if there is none.

    Document starts stay where they are and none is added, so that a submission which orders documents by their length
    meets the same lengths.
    """
    plain = np.flatnonzero(tokens != bos)
    inside = plain[(plain >= max(1, low * len(tokens))) & (plain < min(len(tokens) - 1, high * len(tokens)))]
    if not len(inside):
        return None
    position = int(rng.choice(inside))
    others = plain[tokens[plain] != tokens[position]]
    if not len(others):
        return None
    return Probe("suffix", position, shift=(int(rng.choice(others)) - position) % len(tokens), split=False)


def lied(tokens: Tokens, probe: Probe, bos: int) -> Perturbed:
    """The stream with one such suffix applied."""
    return Perturbed(tokens, probe, bos=bos)


def judged(base: Trace, run: BlindRun, lie: Lie, tolerance: float = ROUNDING) -> Seen:
    """Hold a run against the scored one.

    Args:
        base: the scored run.
        run: the run that was lied to.
        lie: what it was told.
        tolerance: changes up to this, in nats or units of a fingerprint, are none.
    """
    trace = run.trace
    both = (base.order >= 0) & (trace.order >= 0)
    nll = np.where(both, np.abs(base.nll - trace.nll), 0.0)
    prints = np.where(both, apart(base.prints, trace.prints), 0.0)
    size = np.maximum(nll, prints)
    claimed = np.isnan(base.prints[:, 0]) | np.isnan(trace.prints[:, 0])
    swapped = [position for probe in lie.probes for position, _ in probe.swaps if claimed[position]]
    size[swapped] = 0.0  # a probability claimed at a swap is another token's
    moved = size > tolerance
    withheld = (base.order >= 0) & (trace.order < 0) & (run.error is None)
    firsts = [probe.position for probe in lie.probes]
    last = len(base.order)
    seen = Seen()
    for index, probe in enumerate(lie.probes):
        at = probe.position
        begin, end = (firsts[index - 1] + 1 if index else 1), (firsts[index + 1] if index + 1 < len(firsts) else last)
        result = ProbeResult(probe, ran=run.error is None or bool(trace.order[at] >= 0), error=run.error)
        must = np.zeros(last, bool)
        must[begin : at + 1] = True
        if not base.in_order:  # rows that were scored before any replaced token, and stand before all of them
            must &= (base.order >= 0) & (base.order <= _turn(base, firsts))
        if index == 0:
            late = must & both & (trace.order > _first_later(base, trace, firsts))
            result.withheld = [int(p) for p in np.flatnonzero((withheld | late) & must)[:_LISTED]]
            hit = np.flatnonzero(moved & must)
            result.violations = [_row(base, trace, prints, int(p)) for p in hit[:_LISTED]]
            result.violated = len(hit) + int(((withheld | late) & must).sum())
            result.compared = int((both & must).sum())
            known = True
        else:
            gone = np.flatnonzero(withheld[begin : at + 1]) + begin
            result.withheld = [int(p) for p in gone[:_LISTED]]
            result.violated = len(gone)
            forgotten = _forgotten(moved[begin:at]) if base.in_order else None
            known = forgotten is not None
            if forgotten is not None:
                seen.forgot += 1
                seen.reach = max(seen.reach, forgotten)
                result.compared = at + 1 - begin - forgotten
                if moved[begin + forgotten : at + 1].any():
                    seen.suspects.append(probe)
            elif both[at] and not moved[at] and not claimed[at]:
                result.compared = 1
        if both[at] and not moved[at] and not claimed[at]:
            result.still = [at]
        if both[at] and known and not claimed[at]:
            result.own = (float(base.nll[at]), float(trace.nll[at]))
        elif trace.order[at] >= 0 and known and np.isnan(trace.prints[at, 0]):
            result.claimed = float(trace.nll[at])
        after = slice(at + 1, end)
        result.control = int(moved[after].sum())
        result.control_size = float(size[after].max(initial=0.0))
        result.controls_seen = int(both[after].sum())
        result.effects = [(int(p), float(nll[p])) for p in (np.flatnonzero(moved[begin:end]) + begin)[:_LISTED]]
        if index == len(lie.probes) - 1:
            result.rows = trace.committed
        seen.results.append(result)
    return seen


def _forgotten(moved: NDArray[np.bool_]) -> int | None:
    """Where `FORGOTTEN` rows in a row that did not move begin, in the rows between two swaps; None if nowhere."""
    still = np.convolve(~moved, np.ones(FORGOTTEN, int), "valid") if len(moved) >= FORGOTTEN else np.zeros(0, int)
    found = np.flatnonzero(still == FORGOTTEN)
    return int(found[0]) if len(found) else None


def _turn(base: Trace, firsts: list[int]) -> int:
    """Sequence number of the last row, in the scored run, that no replaced token may have a part in."""
    turns = base.order[firsts]
    if (turns >= 0).all():
        return int(turns.min())
    after = base.order[min(firsts) :]  # a token without a row of its own: the rows after it may know it
    return int(after[after >= 0].min(initial=np.iinfo(np.int64).max)) - 1


def _first_later(base: Trace, trace: Trace, firsts: list[int]) -> int:
    """Sequence number, in a run that was lied to, of the first row that the scored run had after the first swap's."""
    later = (base.order > _turn(base, firsts)) & (trace.order >= 0)
    return int(trace.order[later].min(initial=np.iinfo(np.int64).max))


def _row(base: Trace, trace: Trace, prints: NDArray[np.float64], position: int) -> tuple[int, float, float, float]:
    return position, float(base.nll[position]), float(trace.nll[position]), float(prints[position])

"""The flips of the harness, on whatever plays streams in this process.

An unchanged stream is played first, several times: that is the noise floor. Then it is played with other text from some
place on, and rows up to that place are held against the unchanged ones by the referee's own comparison
(`harness.referee.blind.judged`). A row that moved once accuses nobody: the truth and the lie are played again, beside
each other and alone, and only what moves each time counts. What is as small as rounding is settled in float64, where
the arithmetic can be raised to it; and a binary search says which token it was.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.library.subject import Base, Ints, Spent, Subject, stream
from harness.referee.blind import BlindRun, Lie, judged
from harness.referee.comparator import ROUNDING, SMALL, ProbeResult
from harness.referee.rows import apart
from harness.referee.source import Probe
from harness.referee.trace import Difference, Trace, compare

#: Rows after a replaced token that are scored: they have to move, or the test shows nothing.
AFTER = 32

#: Calls of one stream that a search leaves over, for what it costs to read the rows of a model that leaks.
KEPT = 1.5

#: Times that lie, truth and truth are played to see whether calls remember: a cache that holds several takes some.
CYCLES = 3

#: Plays of either kind that are held against each other where a play of the truth moved rows.
NOISY = 3


@dataclass(frozen=True)
class Effect:
    """A row that moved.

    Attributes:
        position: of the row.
        before: NLL of its token, nats.
        after: the same when it had moved.
        size: nats, or units of a fingerprint where that moved by more.
        replaced: the first token that was other text.
    """

    position: int
    before: float
    after: float
    size: float
    replaced: int

    @property
    def change(self) -> float:
        """Nats; units of a fingerprint where the NLL of the row's token stayed what it was."""
        return abs(self.after - self.before) or self.size

    @classmethod
    def of(cls, result: ProbeResult, replaced: int) -> Effect:
        """The row that moved most in a flip."""
        nothing = (result.probe.position, 0.0, 0.0, 0.0)
        position, before, after, change = max(
            result.violations, key=lambda row: max(abs(row[2] - row[1]), row[3]), default=nothing
        )
        return cls(position, before, after, max(abs(after - before), change), replaced)


@dataclass
class Shown:
    """What the flips of one stream showed.

    Attributes:
        base: the unchanged stream.
        difference: how plays of it differ that had no reason to: the largest seen.
        results: of the flips, above the tolerance.
        tolerance: nats (or units of a fingerprint) up to which a change is none.
        neighbour: a row that moved when other sequences of the batch did.
        earlier: a row that moved when the call before had played other text.
        token: (first token, last token, row, nats) of the smallest witness: which tokens it took to move which row.
        rounding: nats of what moved and vanished in float64.
        blurred: why what moved can be told from rounding by nobody; empty where it can.
        exact: the small changes were looked at in float64.
        alone: what was looked at there moved with nothing else in its batch.
    """

    base: Base
    difference: Difference
    results: list[ProbeResult] = field(default_factory=list)
    tolerance: float = ROUNDING
    neighbour: Effect | None = None
    earlier: Effect | None = None
    token: tuple[int, int, int, float] | None = None
    rounding: float = 0.0
    blurred: str = ""
    exact: bool = False
    alone: bool = False

    @property
    def leaks(self) -> bool:
        """A row moved that must not."""
        return bool(self.neighbour or self.earlier or any(result.violated for result in self.results))

    @property
    def control(self) -> float:
        """By how much rows moved that may."""
        return max((result.control_size for result in self.results), default=0.0)


@dataclass(frozen=True)
class _Group:
    """What one call played.

    Attributes:
        streams: all of them, lies first.
        lies: in the same order.
        spare: traces of the unchanged stream beside them.
        traces: of all streams.
    """

    streams: list[Ints]
    lies: list[Lie]
    spare: list[Trace]
    traces: list[Trace]


class Flips:
    """Flips of one stream.

    Args:
        subject: what plays.
        tokens: int64 [T].
        bos: the token that starts a document, kept where it is by every flip; -1: none does.
        across_batch: rows may depend on other sequences of the batch.
        grain: the scorer reports sums over so many tokens; other text begins at multiples only.
    """

    def __init__(
        self, subject: Subject, tokens: Ints, *, bos: int = -1, across_batch: bool = False, grain: int = 1
    ) -> None:
        self._subject = subject
        self._tokens = tokens
        self._bos = bos
        self._across = across_batch
        self._grain = grain
        self._groups: list[_Group] = []
        self._after: Trace | None = None
        self._between = False  # calls differ, not only places in a batch

    def truth(self) -> Shown:
        """Play the unchanged stream twice, side by side where that is possible: the noise floor."""
        first, *others = self._truths()
        if not others:
            others = self._truths()
        worst = _worst(first.trace, [one.trace for one in others])
        if worst.largest > ROUNDING and self._subject.batch == 1:
            # A first call may differ for what it sets up; what counts is whether the same text gives the same again.
            (third,) = self._truths()
            again = compare(others[0].trace, third.trace)
            if again.largest <= ROUNDING and not again.missing:
                self._between = True
                return Shown(others[0], again)
            worst = max(worst, again, key=lambda one: one.largest)
        return Shown(first, worst)

    def beside(self, probe: Probe, difference: Difference) -> Shown:
        """Play the truth and one lie side by side, in one call; how places of a batch differ was found before."""
        lie = self._lie(probe)
        streams, upto = [lie.tokens.astype(np.int64), self._tokens], [probe.position + AFTER]
        told, truth = self._subject.play(streams, self._tokens, None, upto)
        shown = Shown(truth, difference)
        shown.results.append(_judged(truth, told, lie))
        self._groups.append(_Group(streams, [lie], [], [told.trace, truth.trace]))
        return shown

    def play(self, shown: Shown, probes: Sequence[Probe]) -> None:
        """Play the flips, as many side by side as one call takes; the unchanged stream fills the last call."""
        batch = self._subject.batch
        room = batch if batch > 1 else 1
        waiting = list(probes)
        while waiting:
            group = waiting[:room]
            if batch > 1 and len(waiting) <= room and len(group) == room and not any(one.spare for one in self._groups):
                group = group[: room - 1]  # the unchanged stream has to stand beside other text once
            del waiting[: len(group)]
            lies = [self._lie(probe) for probe in group]
            filler = [self._tokens] * (batch - len(group) if batch > 1 else 0)
            upto = [probe.position + AFTER for probe in group]
            made = self._subject.play(
                [lie.tokens.astype(np.int64) for lie in lies] + filler, self._tokens, shown.base, upto
            )
            for lie, one in zip(lies, made, strict=False):
                shown.results.append(_judged(shown.base, one, lie))
            streams = [lie.tokens.astype(np.int64) for lie in lies] + filler
            spare = [one.trace for one in made[len(group) :]]
            self._groups.append(_Group(streams, lies, spare, [one.trace for one in made]))
            noise = max(ROUNDING, 4 * shown.difference.largest)
            if batch > 1 and any(_size(result) > noise for result in shown.results):
                break  # what is left of the budget goes into playing this again, and finding the token
        if batch == 1 and probes:
            self._after = self._truths(shown.base)[0].trace

    def conclude(self, shown: Shown) -> None:
        """Say what the flips show, and play again whatever moved."""
        noise = shown.difference.largest
        # Relative to what the same flips move where they may: a model whose logits are tiny rounds as little.
        floor = ROUNDING * min(1.0, shown.control or 1.0)
        shown.tolerance = max(4 * noise, floor)
        raw = list(shown.results)
        shown.results = [_above(result, shown.tolerance) for result in raw]
        suspect = max((r for r in shown.results if r.violated), key=_size, default=None)
        base = shown.base.trace
        beside = next((g for g in self._groups if any(_largest(base, one) > shown.tolerance for one in g.spare)), None)
        after = self._after is not None and _largest(base, self._after) > shown.tolerance
        differ = self._between or (self._subject.batch == 1 and noise > ROUNDING)
        if not raw or (suspect is None and (beside is None or self._across) and not after and not differ):
            return
        probe = suspect.probe if suspect else raw[0].probe
        try:
            if self._subject.batch > 1:
                self._settle_batch(shown, raw, suspect, beside)
            else:
                self._settle(shown, raw, probe)
        except Spent:
            shown.results = [_unconfirmed(result) for result in shown.results]
            shown.blurred = "no calls are left to play again what moved; allow more of them"

    def _settle_batch(
        self, shown: Shown, raw: list[ProbeResult], suspect: ProbeResult | None, beside: _Group | None
    ) -> None:
        """The truth again, the same batch again, and where a lie moved rows truth and lie each alone."""
        base = shown.base
        group = beside
        slot = len(beside.lies) if beside else 0
        if suspect is not None:
            group = next(g for g in self._groups if any(lie.probes[0] == suspect.probe for lie in g.lies))
            slot = next(i for i, lie in enumerate(group.lies) if lie.probes[0] == suspect.probe)
        assert group is not None
        if suspect is not None and _size(suspect) < SMALL and self._vanishes(shown, group.streams, slot, suspect):
            return
        replaced = min(lie.probes[0].position for lie in group.lies)
        first = _where(base.trace, group.traces[slot], replaced)
        at = Effect.of(suspect, replaced).position if suspect else first.position if first else 1
        again = self._subject.play(group.streams, self._tokens, base, only=at)
        # The same call twice: what differs is noise, or what the calls between have left behind.
        differ = max((_row(a, b.trace, at) for a, b in zip(group.traces, again, strict=True)), key=lambda d: d.largest)
        # Where places of one call differ, nobody can say what an earlier call has to do with it.
        if differ.largest > shown.tolerance and shown.difference.largest <= ROUNDING:
            told = group.streams[0 if suspect is None else slot]
            if self._carried(shown, told, replaced):
                shown.results = [_unconfirmed(result) for result in shown.results]
                return
        self._noisier(shown, raw, differ)
        if suspect is None:
            effect = self._effect(shown, again[slot].trace, replaced)
            if effect is not None and not self._rounded(shown, group.streams, slot, effect):
                shown.neighbour = effect
            return
        lie = group.lies[slot]
        seen = _above(suspect, shown.tolerance)
        if at not in _moved(seen) or _apart(base.trace, again[slot].trace, at) <= shown.tolerance:
            shown.results = [_unconfirmed(result) for result in shown.results]
            return
        if shown.alone:  # seen twice here, and in float64 by itself
            self._narrow(shown, seen, {at})
            return
        alone = self._subject.play([self._tokens], self._tokens, base)[0]
        single = self._subject.play([group.streams[slot]], self._tokens, alone, [lie.probes[0].position + AFTER])[0]
        own = _above(_judged(alone, single, lie), shown.tolerance)
        if not own.violated:
            # Alone it moves nothing: what moved the row is what stood beside it.
            effect = Effect.of(seen, replaced)
            shown.results = [_without(result) for result in shown.results]
            if not self._across and not self._rounded(shown, group.streams, slot, effect):
                shown.neighbour = effect
            return
        if self._rounded(shown, [group.streams[slot]], 0, Effect.of(own, replaced)):
            shown.results = [_without(result) for result in shown.results]
            return
        if at in _moved(own):
            self._narrow(shown, seen, {at})

    def _settle(self, shown: Shown, raw: list[ProbeResult], probe: Probe) -> None:
        """The lie and the truth again, a call each; several of either where calls that tell the truth differ."""
        base = shown.base
        lie = self._lie(probe)
        told = lie.tokens.astype(np.int64)
        lies = self._subject.play([told], self._tokens, base)
        truths = [one.trace for one in self._truths(base)]
        if _worst(base.trace, truths).largest > ROUNDING or self._between:
            if self._carried(shown, told, probe.position):
                shown.results = [_unconfirmed(result) for result in shown.results]
                return
            for _ in range(NOISY):
                lies += self._subject.play([told], self._tokens, base)
                truths += [one.trace for one in self._truths(base)]
        self._noisier(shown, raw, _worst(base.trace, truths))
        again = [_above(_judged(base, one, lie), shown.tolerance) for one in lies]
        rows = set.intersection(*(_moved(one) for one in again))
        if not rows:
            shown.results = [_unconfirmed(result) for result in shown.results]
            return
        if again[-1].violations and self._rounded(shown, [told], 0, Effect.of(again[-1], probe.position)):
            shown.results = [_without(result) for result in shown.results]
            return
        self._narrow(shown, again[-1], rows)

    def _vanishes(self, shown: Shown, streams: list[Ints], slot: int, suspect: ProbeResult) -> bool:
        """Whether float64 can be had, and nothing is left there of what moved: then nothing need be played again."""
        if self._subject.exact() is None or self._leaks_exactly(
            shown, streams, slot, Effect.of(suspect, suspect.probe.position)
        ):  # fmt: skip
            return False
        if shown.exact:
            shown.results = [_without(result) for result in shown.results]
        return shown.exact

    def _rounded(self, shown: Shown, streams: list[Ints], slot: int, effect: Effect) -> bool:
        """Whether a change is so small that rounding can make it, and nobody has shown or can show that it did not."""
        small = effect.size < SMALL and not shown.exact
        return small and not self._leaks_exactly(shown, streams, slot, effect)

    def _noisier(self, shown: Shown, raw: list[ProbeResult], worst: Difference) -> None:
        """More plays of the same may differ by more; the tolerance follows."""
        if worst.largest > shown.difference.largest:
            shown.difference = worst
        shown.tolerance = max(shown.tolerance, 4 * worst.largest)
        shown.results = [_above(result, shown.tolerance) for result in raw]

    def _leaks_exactly(self, shown: Shown, streams: list[Ints], slot: int, effect: Effect) -> bool:
        """Whether a change that may be rounding is there in float64 too.

        Args:
            shown: is told how it came out.
            streams: of the call that showed it.
            slot: the one of them whose row moved.
            effect: the row.
        """
        size, beside = effect.size, False
        exact = self._subject.exact()
        if exact is None:
            if self._subject.bits < 24:
                shown.blurred = (
                    f"row {effect.position:,} moved by {size:.2g} nats, which rounding to {self._subject.bits} bits "
                    "can do; pass the module itself, or play it in float32"
                )
            return self._subject.bits >= 24
        try:
            at = effect.position
            (truth,) = exact.play([self._tokens], self._tokens, only=at)
            (told,) = exact.play([streams[slot]], self._tokens, only=at)
            if len(streams) > 1 and _apart(truth.trace, told.trace, effect.position) <= min(size / 4, ROUNDING):
                told = exact.play(streams, self._tokens, only=at)[slot]
                beside = True
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            if self._subject.bits < 24:
                why = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
                shown.blurred = (
                    f"row {effect.position:,} moved by {size:.2g} nats, which rounding can do, and the model does not "
                    f"run in float64 ({why})"
                )
            return self._subject.bits >= 24
        shown.exact = True
        if _apart(truth.trace, told.trace, effect.position) > min(size / 4, ROUNDING):
            shown.alone = not beside
            return True
        shown.rounding = size
        return False

    def _carried(self, shown: Shown, told: Ints, replaced: int) -> bool:
        """Whether rows depend on what was played in the call before, again and again in the same way."""
        after_lie: list[Trace] = []
        after_truth: list[Trace] = []
        for cycle in range(CYCLES):
            if cycle > 1 and self._subject.left < 3:
                break
            self._subject.play([told], self._tokens)
            for kind in (after_lie, after_truth):
                kind.append(self._subject.play([self._tokens], self._tokens)[0].trace)
            if cycle:
                within = max(_largest(kind[-2], kind[-1]) for kind in (after_lie, after_truth))
                if _largest(after_lie[-1], after_truth[-1]) > max(ROUNDING, 4 * within):
                    shown.earlier = _where(after_truth[-1], after_lie[-1], replaced)
                    return shown.earlier is not None
        return False

    def _narrow(self, shown: Shown, result: ProbeResult, rows: set[int]) -> None:
        """The last place from which on other text moves the row: between it and the next only one token differs."""
        ranked = [row for row in result.violations if row[0] in rows] or result.violations
        if not ranked:
            return
        position, before, after, change = max(ranked, key=lambda row: (abs(row[2] - row[1]), row[3]))
        low, high = result.probe.position, len(self._tokens)
        size = abs(after - before) or change
        first = True
        while high - low > 1 and self._subject.left >= KEPT:
            cuts = self._cuts(low, high, first)
            first = False
            if not cuts:
                break
            probes = (dataclasses.replace(result.probe, position=cut) for cut in cuts)
            streams = [self._lie(probe).tokens.astype(np.int64) for probe in probes]
            try:
                made = self._subject.play(streams, self._tokens, shown.base, only=position)
            except Spent:
                break
            for cut, one in zip(cuts, made, strict=True):
                moved = _apart(shown.base.trace, one.trace, position)
                if low < cut < high and moved > shown.tolerance:
                    low, size = cut, abs(float(one.trace.nll[position] - shown.base.trace.nll[position])) or moved
                elif low < cut < high:
                    high = cut
        shown.token = (low, high - 1, position, size)

    def _cuts(self, low: int, high: int, first: bool) -> list[int]:
        """Places between two, as many as one call takes: the nearest, the middle, and at first the last."""
        span = high - low
        room = max(1, min(self._subject.batch, int(self._subject.left - KEPT), span - 1))
        near = [low + 1, high - 1 if first else low + math.isqrt(span), low + span // 2]
        if self._subject.batch == 1:
            near = [low + 1] if first else [low + span // 2]
        cuts = {*near[:room], *(low + span * (i + 1) // (room + 1) for i in range(room) if room > 3)}
        return sorted(cut for cut in cuts if low < cut < high and cut % self._grain == 0)

    def _effect(self, shown: Shown, trace: Trace, replaced: int) -> Effect | None:
        found = _where(shown.base.trace, trace, replaced)
        return found if found is not None and found.size > shown.tolerance else None

    def _truths(self, like: Base | None = None) -> list[Base]:
        return self._subject.play([self._tokens] * self._subject.batch, self._tokens, like)

    def _lie(self, probe: Probe) -> Lie:
        return Lie.of([probe], stream(self._tokens), self._bos)


def _judged(base: Base, played: Base, lie: Lie) -> ProbeResult:
    """What one flip showed, any change counted."""
    (result,) = judged(base.trace, BlindRun(played.trace), lie, 0.0).results
    return result


def _above(result: ProbeResult, tolerance: float) -> ProbeResult:
    """The result with changes up to a tolerance taken for none; its own row did not move if it moved by no more."""
    made = result.above(tolerance)
    own, at = result.own, result.probe.position
    if own is not None and not made.still and at not in {row[0] for row in made.violations}:
        made = dataclasses.replace(made, still=[at])
    return made


def _unconfirmed(result: ProbeResult) -> ProbeResult:
    return dataclasses.replace(result, unconfirmed=result.violated, violated=0, violations=[], withheld=[])


def _without(result: ProbeResult) -> ProbeResult:
    return dataclasses.replace(result, violated=0, violations=[], withheld=[])


def _moved(result: ProbeResult) -> set[int]:
    return {position for position, *_ in result.violations} | set(result.withheld)


def _size(result: ProbeResult) -> float:
    return max((max(abs(after - before), change) for _, before, after, change in result.violations), default=0.0)


def _largest(left: Trace, right: Trace) -> float:
    return compare(left, right).largest


def _apart(left: Trace, right: Trace, at: int) -> float:
    """How far one row is from another's, nats or units of a fingerprint."""
    return _row(left, right, at).largest


def _row(left: Trace, right: Trace, at: int) -> Difference:
    """How two plays of one stream differ in one row, where both have it."""
    if left.order[at] < 0 or right.order[at] < 0:
        return Difference(0, 0, 0.0, 0.0, 0)
    nll = abs(float(left.nll[at] - right.nll[at]))
    prints = float(apart(left.prints[at : at + 1], right.prints[at : at + 1])[0])
    return Difference(1, int(max(nll, prints) > 0), nll, prints, 0)


def _worst(base: Trace, others: Sequence[Trace]) -> Difference:
    return max((compare(base, other) for other in others), key=lambda one: one.largest)


def _where(base: Trace, other: Trace, replaced: int) -> Effect | None:
    """The row that moved most, None where none did."""
    both = (base.order >= 0) & (other.order >= 0)
    nll = np.where(both, np.abs(base.nll - other.nll), 0.0)
    size = np.maximum(nll, np.where(both, apart(base.prints, other.prints), 0.0))
    at = int(size.argmax())
    if size[at] <= 0:
        return None
    return Effect(at, float(base.nll[at]), float(other.nll[at]), float(size[at]), replaced)

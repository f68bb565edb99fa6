"""In which order an evaluation scores a stream: what that is called, and which practices it is.

The same for submissions of every kind: a `Scoring` says which positions were scored, how often and in which order.

Six layouts of sliding windows are in use among accepted records; they differ in which targets count (L inputs per
window, stride s): C scores every target once; A scores the last s again with windows that are cut off; D drops what
the last whole window does not reach; E never scores the first L - s; F leaves a context's length out after the first
window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.audit.practices import Seen
from harness.referee.comparator import ProbeResult
from harness.referee.trace import Read, Trace
from harness.sandbox.protocol import Purpose

Ints = NDArray[np.int64]

#: Share of neighbouring documents that must agree with an order for it to be named (batches blur it).
MOSTLY = 0.9

#: Share of the targets that may be left out at the start or the end and still be what accepted records do: at full size
#: they leave out less than 0.01 %. A stream of toy size has few windows, and a quarter of it says nothing.
LEFT_OUT, LEFT_OUT_OF_A_TOY = 0.01, 0.25

#: Share of the stream that a window at its end may reach back, and a position be scored again before it is a new pass.
TAIL, NEW_PASS = 1 / 8, 1 / 4


@dataclass(frozen=True)
class Scoring:
    """Which positions of a stream of `tokens` tokens were scored. Arrays are int64 [tokens]; index 0 is never scored.

    Attributes:
        tokens: of the stream.
        order: increases with the position's first scoring, -1 where it has none.
        times: how often the position was scored.
        since: how many other positions were scored for the first time between the position's first scoring and its
            last.
        documents: int64, where documents start.
        toy: the stream is much shorter than the one that the submission is for, and its windows are not.
    """

    tokens: int
    order: Ints
    times: Ints
    since: Ints
    documents: Ints
    toy: bool = False

    @classmethod
    def of_trace(cls, trace: Trace, documents: Ints, *, toy: bool = False) -> Scoring:
        """The scoring of a trace."""
        return cls(trace.tokens, trace.order, trace.times, trace.since, documents, toy)

    @classmethod
    def of_sequence(cls, position: Ints, tokens: int, documents: Ints, *, toy: bool = False) -> Scoring:
        """The scoring of positions, int64 [n], in the order in which they were scored."""
        position = position[(position > 0) & (position < tokens)]
        order = np.full(tokens, -1, np.int64)
        found, first = np.unique(position, return_index=True)
        order[found] = first
        new = np.zeros(len(position), bool)
        new[first] = True
        rank = np.cumsum(new)
        since = np.zeros(tokens, np.int64)
        np.maximum.at(since, position, rank - rank[order[position]])
        return cls(tokens, order, np.bincount(position, minlength=tokens), since, documents, toy)

    @cached_property
    def never(self) -> Ints:
        """Positions that were not scored."""
        return np.flatnonzero(self.order[1:] < 0) + 1

    @cached_property
    def again(self) -> Ints:
        """Positions that were scored more than once."""
        return np.flatnonzero(self.times > 1)

    @cached_property
    def steps_back(self) -> int:
        """How often a position's neighbour on the left, among scored ones, was scored later."""
        sequence = self.order[self.order >= 0]
        return int((np.diff(sequence) < 0).sum())

    @cached_property
    def out_of_order(self) -> Ints:
        """Positions that were scored before the scored position to their left."""
        at = np.flatnonzero(self.order >= 0)
        return at[np.flatnonzero(np.diff(self.order[at]) < 0) + 1]

    @cached_property
    def document_of(self) -> Ints:
        """Which document a position belongs to, int64 [tokens]."""
        found: Ints = np.cumsum(np.isin(np.arange(self.tokens), self.documents))
        return found

    @cached_property
    def inside(self) -> Ints:
        """Positions that were scored before the scored position to their left, with the same document before them.

        The token that starts a document is predicted from the one before it, and counts as that one's end.
        """
        at = np.flatnonzero(self.order >= 0)
        back = np.flatnonzero(np.diff(self.order[at]) < 0)
        document = np.roll(self.document_of, 1)
        found: Ints = at[back + 1][document[at[back + 1]] == document[at[back]]]
        return found

    @cached_property
    def cover(self) -> list[Seen]:
        """Which positions count more than once, or never."""
        seen = []
        again, never, last = self.again, self.never, self.tokens - 1
        if len(again):
            extra = int((self.times[again] - 1).sum())
            note = f"{len(again):,} positions are scored again, {extra:,} times in all"
            if (self.since[again] > NEW_PASS * last).any():
                practice = "second_pass"
            elif len(again) == last - again.min() + 1 and len(again) <= TAIL * last:
                practice = "tail_scored_again"
                note = f"the last {len(again):,} positions are scored again, {extra:,} times"
            else:
                practice = "scored_again"
            seen.append(Seen(practice, note))
        starts = never[np.isin(never, self.documents)]
        if len(starts) > 1 and len(starts) == np.count_nonzero(np.asarray(self.documents) > 0):
            note = f"the tokens that start the {len(starts):,} documents after the first are never scored"
            seen.append(Seen("document_starts_never_scored", note))
            never = np.setdiff1d(never, starts)
        if not len(never):
            return seen
        runs = np.split(never, np.flatnonzero(np.diff(never) > 1) + 1)
        of = f"of {last:,} positions ({len(never) / last:.1%})"
        inner = [run for run in runs if run[0] != 1 and run[-1] != last]
        after_first = len(inner) == 1 and runs[0][0] != 1 and inner[0][-1] < NEW_PASS * self.tokens
        few = len(never) <= (LEFT_OUT_OF_A_TOY if self.toy else LEFT_OUT) * last
        if not few or len(inner) > after_first:
            return [*seen, Seen("gap", f"{len(never):,} {of} are never scored")]
        if after_first:
            seen.append(
                Seen("gap_after_first_window", f"{len(inner[0]):,} {of} are never scored, from {inner[0][0]:,} on")
            )
        if runs[0][0] == 1:
            seen.append(Seen("first_targets_never_scored", f"the first {len(runs[0]):,} {of} are never scored"))
        if runs[-1][-1] == last and runs[-1][0] != 1:
            seen.append(Seen("tail_never_scored", f"the last {len(runs[-1]):,} {of} are never scored"))
        return seen


def windows_of(trace: Trace) -> Ints:
    """The input windows that were read, int64 [k, 2], in order; single reads are windows of their own."""
    parts = [event.ranges for event in trace.events if isinstance(event, Read) and event.purpose == Purpose.INPUT]
    return np.concatenate(parts) if parts else np.zeros((0, 2), np.int64)


def geometry(trace: Trace) -> tuple[int, int]:
    """(L, s): the longest window, and the most common distance between the starts of windows; zeros without windows."""
    windows = windows_of(trace)
    if not len(windows):
        return 0, 0
    steps = np.diff(windows[:, 0])
    steps = steps[steps > 0]
    length = int((windows[:, 1] - windows[:, 0]).max())
    return length, Counter(steps.tolist()).most_common(1)[0][0] if len(steps) else length


def layout(scoring: Scoring) -> str:
    """The name of the windows' layout, as far as the scored positions tell; "other" where none fits."""
    if not (scoring.order >= 0).any():
        return "other"
    names = {one.practice for one in scoring.cover} - {"document_starts_never_scored"}
    return {
        (): "C: exact cover",
        ("tail_scored_again",): "A: the tail is scored again",
        ("tail_never_scored",): "D: the tail is never scored",
        ("first_targets_never_scored",): "E: the first targets are never scored",
        ("first_targets_never_scored", "tail_never_scored"): "D and E: neither the first targets nor the tail",
        ("gap_after_first_window",): "F: a gap after the first window is never scored",
        ("gap_after_first_window", "tail_never_scored"): "D and F: neither a gap after the first window nor the tail",
    }.get(tuple(sorted(names)), "other")


def document_order(scoring: Scoring) -> str:
    """How documents follow one another: "stream", "longest first", "shortest first" or "other"."""
    if not scoring.steps_back:
        return "stream"
    begins = np.asarray(scoring.documents)
    firsts = begins[begins + 1 < scoring.tokens] + 1
    lengths = np.diff(np.append(begins, scoring.tokens))[: len(firsts)]
    scored = scoring.order[firsts] >= 0
    if scored.sum() < 3:
        return "other"
    steps = np.diff(lengths[scored][np.argsort(scoring.order[firsts[scored]])])
    if (steps <= 0).mean() >= MOSTLY:
        return "longest first"
    return "shortest first" if (steps >= 0).mean() >= MOSTLY else "other"


def practices(scoring: Scoring) -> list[Seen]:
    """What a scoring is beside one pass over every position from left to right; nothing where it is just that."""
    return scoring.cover + _order(scoring)


def known_ahead(results: Sequence[ProbeResult], document_of: Ints) -> list[tuple[ProbeResult, int]]:
    """Flips, each with a row that moved although its position stands before the replaced token in the same document.

    Args:
        results: of the flips.
        document_of: int64 [tokens], which document a position belongs to.
    """
    return [
        (result, position)
        for result in results
        for position, _ in result.crossed
        if document_of[position] == document_of[result.probe.position]
    ]


def _order(scoring: Scoring) -> list[Seen]:
    if not scoring.steps_back:
        return []
    order, inside, first = document_order(scoring), scoring.inside, scoring.out_of_order[0]
    if order == "longest first" and not len(inside):
        return [Seen("longest_document_first", "documents are scored longest first")]
    how = f"documents {order}" if order != "other" else f"{scoring.steps_back:,} steps back"
    within = f", {len(inside):,} of them inside a document" if len(inside) else ""
    return [Seen("steps_back", f"not scored from left to right: {how}{within}, the first at position {first:,}")]

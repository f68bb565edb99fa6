"""Names for the ways in which the contest's submissions lay windows and documents over a stream.

Six layouts of sliding windows are in use; they differ in which targets count (L inputs per window, stride s):
C scores every target once; A1 and A2 score the last s again with truncated windows (A2 drops windows shorter than s);
D drops what the last whole window does not reach; E never scores the first L - s; F has whole windows only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.referee.comparator import ProbeResult
from harness.referee.trace import Read, Trace
from harness.sandbox.protocol import Purpose

Ints = NDArray[np.int64]

#: Share of neighbouring documents that must agree with an order for it to be named (batches blur it).
MOSTLY = 0.9


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


def window_layout(trace: Trace) -> str:
    """The layout's name, as far as one of the six fits; "other" when none does."""
    length, stride = geometry(trace)
    if not length:
        return "other"
    order = trace.order[1:]
    missing = np.flatnonzero(order < 0) + 1
    last = trace.tokens - 1
    sizes = np.diff(windows_of(trace), axis=1)[:, 0]
    if trace.repeated:
        again = {position for position, _ in trace.repeats}
        if len(missing) or min(again) <= last - stride:
            return "other"
        return "A1: the tail is scored again" if sizes.min() < stride else "A2: the tail is scored again"
    if not len(missing):
        whole = bool((sizes == length).all())
        return "F: whole windows, exact cover" if whole and last > length else "C: exact cover"
    gap = missing.max() - missing.min() + 1 == len(missing)
    if gap and missing.min() == 1 and missing.max() == length - stride:
        return "E: the first L - s targets are never scored"
    if gap and missing.max() == last and len(missing) < length:
        return "D: the tail is never scored"
    return "other"


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


def document_order(trace: Trace, starts: Ints) -> str:
    """How documents follow one another: "stream", "longest first", "shortest first" or "other".

    Args:
        trace: the scored run.
        starts: int64, where each document's BOS stands.
    """
    begins = np.asarray(starts)
    firsts = begins + 1
    firsts = firsts[firsts < trace.tokens]
    lengths = np.diff(np.append(begins, trace.tokens))[: len(firsts)]
    scored = trace.order[firsts] >= 0
    if scored.sum() < 3 or trace.in_order:
        return "stream" if trace.in_order else "other"
    ranked = lengths[scored][np.argsort(trace.order[firsts[scored]])]
    steps = np.diff(ranked)
    if (steps <= 0).mean() >= MOSTLY:
        return "longest first"
    return "shortest first" if (steps >= 0).mean() >= MOSTLY else "other"

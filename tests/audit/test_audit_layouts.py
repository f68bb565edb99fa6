"""Each window layout that the contest's records use is told apart and named."""

from __future__ import annotations

import numpy as np
import pytest

from harness.audit.layouts import document_order, geometry, window_layout
from harness.referee.rows import PROJECTIONS, Scored
from harness.referee.trace import Trace
from harness.sandbox.protocol import Purpose, Rows

L, S = 32, 8


def ledger(targets: int, windows: list[tuple[int, int, int]]) -> Trace:
    """A trace of windows (start, size, first scored offset), eight to a batch."""
    trace = Trace(targets + 1)
    for begin in range(0, len(windows), 8):
        group = windows[begin : begin + 8]
        trace.read(np.array([(w, w + n) for w, n, _ in group], np.int64), Purpose.INPUT)
        positions = np.concatenate([np.arange(w + 1 + f, w + 1 + n) for w, n, f in group])
        zeros = np.zeros(len(positions))
        trace.commit(positions, Scored(zeros, zeros, np.zeros((len(positions), PROJECTIONS))), Rows.LOGITS)
    return trace


def layout(name: str, n: int) -> list[tuple[int, int, int]]:
    """Independent restatements of the six layouts."""
    if name in ("A1", "A2"):
        found = [(w, min(L, n - w)) for w in range(0, n, S)]
        found = [(w, size) for w, size in found if name == "A1" or size >= S or w == 0]
        return [(w, size, 0 if w == 0 else max(size - S, 0)) for w, size in found]
    if name == "C":
        return [(w, min(L, n - w), 0 if w == 0 else L - S) for w in range(0, n, S) if w == 0 or w + L - S < n]
    if name in ("D", "F"):
        return [(w, L, 0 if w == 0 else L - S) for w in range(0, n + 1 - L, S)]
    assert name == "E"
    return [(w, L, L - S) for w in range(0, n - L + 1, S)]


@pytest.mark.parametrize(
    ("name", "targets"), [("A1", 203), ("A2", 200), ("C", 203), ("C", 20), ("D", 203), ("E", 200), ("F", 200)]
)
def test_layouts_are_named(name: str, targets: int) -> None:
    trace = ledger(targets, layout(name, targets))
    assert window_layout(trace).startswith(f"{name}:")
    if targets > L:
        assert geometry(trace) == (L, S)


def test_what_fits_no_layout_is_other() -> None:
    skipped = [w for i, w in enumerate(layout("C", 203)) if i != 5]
    assert window_layout(ledger(203, skipped)) == "other"
    twice = layout("C", 203)
    assert window_layout(ledger(203, [*twice[:3], twice[2], *twice[3:]])) == "other"
    assert window_layout(Trace(10)) == "other"


def test_the_order_of_documents_is_named() -> None:
    starts = np.array([0, 10, 40, 60, 65, 90])
    spans = list(zip(starts, np.append(starts[1:], 120), strict=True))
    stream = ledger(119, [(int(a), int(b - a), 0) if b < 120 else (int(a), int(b - a - 1), 0) for a, b in spans])
    assert document_order(stream, starts) == "stream"
    longest = sorted(spans, key=lambda span: span[0] - span[1])
    trace = ledger(119, [(int(a), int(min(b, 119) - a), 0) for a, b in longest])
    assert document_order(trace, starts) == "longest first"
    trace = ledger(119, [(int(a), int(min(b, 119) - a), 0) for a, b in longest[::-1]])
    assert document_order(trace, starts) == "shortest first"

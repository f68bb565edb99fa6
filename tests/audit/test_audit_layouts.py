"""Each window layout that the contest's records use is told apart and named."""

from __future__ import annotations

import numpy as np
import pytest

from harness.audit.orders import Scoring, document_order, geometry
from harness.audit.orders import layout as named
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


def windows(name: str, n: int) -> list[tuple[int, int, int]]:
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


def layout(trace: Trace) -> str:
    return named(Scoring.of_trace(trace, np.zeros(1, np.int64), toy=True))


@pytest.mark.parametrize(
    ("name", "targets", "called"),
    [
        ("A1", 203, "A"), ("A2", 200, "A"), ("C", 203, "C"), ("C", 20, "C"), ("D", 203, "D"), ("D", 200, "C"),
        ("E", 200, "E"), ("E", 203, "D and E"),
    ],
)  # fmt: skip
def test_layouts_are_named(name: str, targets: int, called: str) -> None:
    trace = ledger(targets, windows(name, targets))
    assert layout(trace).startswith(f"{called}:")
    if targets > L:
        assert geometry(trace) == (L, S)


def test_what_fits_no_layout_is_other() -> None:
    skipped = [w for i, w in enumerate(windows("C", 203)) if i != 5]
    assert layout(ledger(203, skipped)) == "other"
    twice = windows("C", 203)
    assert layout(ledger(203, [*twice[:3], twice[2], *twice[3:]])) == "other"
    assert layout(Trace(10)) == "other"


def test_the_order_of_documents_is_named() -> None:
    starts = np.array([0, 10, 40, 60, 65, 90])
    spans = list(zip(starts, np.append(starts[1:], 120), strict=True))
    stream = ledger(119, [(int(a), int(b - a), 0) if b < 120 else (int(a), int(b - a - 1), 0) for a, b in spans])
    assert document_order(Scoring.of_trace(stream, starts)) == "stream"
    longest = sorted(spans, key=lambda span: span[0] - span[1])
    trace = ledger(119, [(int(a), int(min(b, 119) - a), 0) for a, b in longest])
    assert document_order(Scoring.of_trace(trace, starts)) == "longest first"
    trace = ledger(119, [(int(a), int(min(b, 119) - a), 0) for a, b in longest[::-1]])
    assert document_order(Scoring.of_trace(trace, starts)) == "shortest first"

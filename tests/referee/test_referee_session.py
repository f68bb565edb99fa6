"""The trusted end of an evaluation, with peers that do not keep to the protocol."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.errors import SubmissionError
from harness.referee.rows import projector
from harness.referee.session import Evaluation, full_trace
from harness.referee.source import Perturbed, Probe, Real
from harness.referee.trace import Trace, Update
from harness.sandbox.protocol import Kind, Purpose, Rows
from harness.sandbox.wire import Frame, Wire, WireClosed, pair, text, untext

VOCAB, TOKENS = 5, np.array([1, 2, 3, 4, 0, 1, 2, 3], np.uint16)
Peer = Callable[[Wire], None]


def code(value: int) -> np.ndarray:
    return np.array([value], np.uint8)


def ask(wire: Wire, *ranges: tuple[int, int], purpose: int = Purpose.INPUT) -> Frame:
    wire.send(Kind.READ, np.array(ranges, np.int64).reshape(-1, 2), code(purpose))
    return wire.recv(10)


def put(wire: Wire, positions: list[int], rows: np.ndarray | None = None) -> None:
    values = np.zeros((len(positions), VOCAB), np.float32) if rows is None else rows
    wire.send(Kind.COMMIT, np.array(positions, np.int64), values, code(Rows.LOGITS))


def serve(peer: Peer, *, hang_up: bool = True, seconds: float = 10.0, **how: Any) -> tuple[Evaluation, Trace]:
    """Run an evaluation against a peer in a thread; the peer's own error fails the test."""
    ours, theirs = pair()
    trace, failures = Trace(len(TOKENS)), []
    evaluation = Evaluation(
        ours,
        source=how.pop("source", Real(TOKENS)),
        targets=TOKENS,
        sink=trace,
        projection=projector(VOCAB, 1),
        deadline=time.monotonic() + seconds,
    )

    def play() -> None:
        try:
            peer(other)
        except Exception as error:
            failures.append(error)
        if hang_up:
            other.close()

    other = Wire(theirs)
    thread = threading.Thread(target=play)
    thread.start()
    try:
        evaluation.run(**how)
    finally:
        ours.close()
        thread.join(10)
        other.close()
        assert not thread.is_alive() and not failures, failures
    return evaluation, trace


def refused(peer: Peer, says: str, **how: Any) -> None:
    with pytest.raises(SubmissionError, match=says) as caught:
        serve(peer, **how)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_a_peer_that_keeps_to_the_protocol() -> None:
    seen: list[tuple[int, int]] = []

    def peer(wire: Wire) -> None:
        assert ask(wire, (0, 3), (2, 5)).arrays[0].tolist() == [1, 2, 3, 3, 4, 0]
        put(wire, [1, 2, 3])
        assert ask(wire, (1, 4), purpose=Purpose.HISTORY).kind == Kind.TOKENS
        wire.send(Kind.UPDATE, np.array([2, 3], np.int64))
        wire.send(Kind.NOTICE, text("process: os.system x"))
        put(wire, [4, 5, 6, 7])
        wire.send(Kind.DONE)

    evaluation, trace = serve(peer, progress=lambda done, of: seen.append((done, of)))
    assert evaluation.finished and full_trace(evaluation, trace).finished and trace.notices == ["process: os.system x"]
    assert trace.scored.tolist() == list(range(1, 8)) and trace.nll[1:] == pytest.approx(np.log(VOCAB))
    assert [e for e in trace.events if isinstance(e, Update)] == [Update(2, 3, 3, 1)]
    assert seen == [(3, 7), (7, 7)]


def test_rows_are_charged_for_the_real_tokens_whatever_was_read() -> None:
    rows = np.log(np.arange(1, VOCAB + 1, dtype=np.float32))[None]

    def peer(wire: Wire) -> None:
        assert ask(wire, (0, 8)).arrays[0].tolist() == [1, 2, 4, 4, 0, 1, 2, 3]
        put(wire, [2], rows)
        wire.send(Kind.DONE)

    _, trace = serve(peer, source=Perturbed(TOKENS, Probe("swap", 2, token=4)))
    assert trace.nll[2] == pytest.approx(np.log(15 / 4))  # token 3, not token 4


def test_progress_counts_no_position_twice() -> None:
    seen: list[int] = []

    def peer(wire: Wire) -> None:
        put(wire, [1, 2])
        put(wire, [2, 3])
        wire.send(Kind.DONE)

    _, trace = serve(peer, progress=lambda done, _: seen.append(done))
    assert seen == [2, 3] and trace.repeated == 1


def test_after_commit_can_end_it() -> None:
    def peer(wire: Wire) -> None:
        put(wire, [1])
        with contextlib.suppress(WireClosed):  # the referee may be gone by now
            put(wire, [2])

    evaluation, trace = serve(peer, after_commit=lambda: True)
    assert not evaluation.finished and trace.scored.tolist() == [1]


@pytest.mark.parametrize(("start", "stop", "first"), [(0, 2, 1), (2, 5, 4), (7, 8, 7)])
def test_history_of_what_is_not_scored_is_refused_and_the_evaluation_goes_on(start: int, stop: int, first: int) -> None:
    def peer(wire: Wire) -> None:
        if start:
            put(wire, [2, 3])
        answer = ask(wire, (start, stop), purpose=Purpose.HISTORY)
        assert answer.kind == Kind.REFUSED
        said.append(untext(answer.arrays[0], 200))
        assert ask(wire, (0, 1), purpose=Purpose.HISTORY).arrays[0].tolist() == [1]  # x_0 is free
        wire.send(Kind.DONE)

    said: list[str] = []
    evaluation, trace = serve(peer)
    assert said == [f"history({start}, {stop}): position {first} is not scored yet"] and evaluation.finished
    assert [e.purpose for e in trace.events if hasattr(e, "purpose")] == [Purpose.HISTORY]  # only what was answered


ROWS, POS = np.zeros((2, VOCAB), np.float32), np.array([1, 2], np.int64)
NAN = np.array([[np.nan] * VOCAB] * 2, np.float32)
RANGES = np.array([[0, 2]], np.int64)

COMMITS = {
    "no arrays": ((), "must carry positions, rows and their kind"),
    "two arrays": ((POS, ROWS), "must carry positions, rows and their kind"),
    "int32 positions": ((POS.astype(np.int32), ROWS, code(0)), "as int64"),
    "positions in two dimensions": ((POS[None], ROWS, code(0)), "as int64"),
    "no positions": ((POS[:0], ROWS[:0], code(0)), "at least one position"),
    "float64 rows": ((POS, ROWS.astype(np.float64), code(0)), r"expected \[2, 5\]"),
    "too narrow": ((POS, ROWS[:, :4], code(0)), r"rows of shape \[2, 4\] for 2 positions; expected \[2, 5\]"),
    "too wide": ((POS, np.zeros((2, 6), np.float32), code(0)), r"expected \[2, 5\]"),
    "too few": ((POS, ROWS[:1], code(0)), r"rows of shape \[1, 5\] for 2 positions"),
    "flat": ((POS, ROWS.reshape(-1), code(0)), r"rows of shape \[10\]"),
    "position 0": ((np.array([1, 0]), ROWS, code(0)), r"position 0 is outside the stream \(1 to 7\)"),
    "negative position": ((np.array([-1, 2]), ROWS, code(0)), "position -1 is outside"),
    "position past the end": ((np.array([1, 8]), ROWS, code(0)), "position 8 is outside"),
    "unknown kind of rows": ((POS, ROWS, code(3)), "unknown kind of rows"),
    "a whole row as a claim": ((POS, ROWS, code(2)), r"expected \[2, 1\]"),
    "empty kind of rows": ((POS, ROWS, code(0)[:0]), "unknown kind of rows"),
    "kind of rows as a float": ((POS, ROWS, np.array([np.nan])), "unknown kind of rows"),
    "not a number": ((POS, NAN, code(0)), "position 1 holds NaN"),
}
READS = {
    "no purpose": ((RANGES,), "must carry ranges and a purpose"),
    "int32 ranges": ((RANGES.astype(np.int32), code(0)), "int64"),
    "flat ranges": ((RANGES[0], code(0)), "int64"),
    "three columns": ((np.zeros((1, 3), np.int64), code(0)), "int64"),
    "before the stream": ((np.array([[-1, 2]]), code(0)), "read of tokens -1 to 2: the stream has 8"),
    "past the stream": ((np.array([[0, 1], [3, 9]]), code(0)), "read of tokens 3 to 9: the stream has 8"),
    "backwards": ((np.array([[5, 2]]), code(0)), "read of tokens 5 to 2"),
    "int64's ends": ((np.array([[-(2**63), 2**63 - 1]]), code(0)), "read of tokens -9223372036854775808"),
    "too much at once": (
        (np.tile([[0, 8]], (1 << 18, 1)), code(0)),
        "one read of 262,144 ranges: the stream has 8 tokens",
    ),
    "too many empty ranges": ((np.zeros((1 << 21, 2), np.int64), code(0)), "one read of 2,097,152 ranges"),
    "one empty range too many": ((np.zeros((8 + 4097, 2), np.int64), code(0)), "one read of 4,105 ranges"),
    "unknown purpose": ((RANGES, code(3)), "unknown purpose 3"),
    "no value of purpose": ((RANGES, code(0)[:0]), "one purpose"),
    "infinite purpose": ((RANGES, np.array([np.inf])), "one purpose"),
    "purpose that is no number": ((RANGES, np.array([np.nan])), "one purpose"),
}
OTHERS = {
    "update of one number": (Kind.UPDATE, (np.array([1], np.int64),), "malformed"),
    "update of floats": (Kind.UPDATE, (np.array([1.0, 2.0]),), "malformed"),
    "update without numbers": (Kind.UPDATE, (), "malformed"),
    "negative update": (Kind.UPDATE, (np.array([1, -2], np.int64),), "negative number of updates"),
    "notice without text": (Kind.NOTICE, (), "malformed"),
    "notice of numbers": (Kind.NOTICE, (np.zeros(3),), "malformed"),
    "failed": (Kind.FAILED, (text("ValueError: no (submission.py:3)"),), r"ValueError: no \(submission.py:3\)"),
    "failed without text": (Kind.FAILED, (), "malformed"),
    "a frame of the parent's": (Kind.TOKENS, (np.zeros(3, np.uint16),), "unknown kind 9"),
    "a frame of another stage": (Kind.ARTIFACT, (np.zeros(3, np.uint8),), "unknown kind 19"),
    "a kind that nobody knows": (60_000, (), "unknown kind 60000"),
}


@pytest.mark.parametrize("name", COMMITS)
def test_malformed_commits(name: str) -> None:
    arrays, says = COMMITS[name]
    refused(lambda wire: wire.send(Kind.COMMIT, *arrays), says)


@pytest.mark.parametrize("name", READS)
def test_malformed_reads(name: str) -> None:
    arrays, says = READS[name]
    refused(lambda wire: wire.send(Kind.READ, *arrays), says)


@pytest.mark.parametrize("name", OTHERS)
def test_other_malformed_frames(name: str) -> None:
    kind, arrays, says = OTHERS[name]
    refused(lambda wire: wire.send(kind, *arrays), says)


def test_a_refused_commit_leaves_nothing_in_the_trace() -> None:
    trace: list[Trace] = []

    def peer(wire: Wire) -> None:
        wire.send(Kind.COMMIT, POS, NAN, code(Rows.LOGITS))

    ours, theirs = pair()
    trace.append(Trace(len(TOKENS)))
    with Wire(theirs) as other:
        peer(other)
        evaluation = Evaluation(
            ours, source=Real(TOKENS), targets=TOKENS, sink=trace[0], projection=projector(VOCAB, 1),
            deadline=time.monotonic() + 10,
        )  # fmt: skip
        with pytest.raises(SubmissionError):
            evaluation.run()
    ours.close()
    assert trace[0].committed == 0 and not trace[0].events


def test_the_next_reads_are_answered_before_a_commit_is_scored_and_the_order_of_events_stays(monkeypatch) -> None:
    """Rows are here before tokens are handed out; only the arithmetic waits."""
    happened: list[str] = []

    def peer(wire: Wire) -> None:
        for start in (1, 4):
            wire.send(Kind.COMMIT, np.arange(start, start + 3), np.zeros((3, VOCAB), np.float32), code(Rows.LOGITS))
            for _ in range(2):
                wire.send(Kind.READ, np.array([[0, 2]], np.int64), code(Purpose.HISTORY))
        wire.send(Kind.DONE)

    class Told(Trace):
        def commit(self, positions, scored, kind) -> None:
            happened.append(f"scored {positions[0]}")
            super().commit(positions, scored, kind)

    ours, theirs = pair()
    with Wire(theirs) as other:
        peer(other)
        trace = Told(len(TOKENS))
        evaluation = Evaluation(
            ours, source=Real(TOKENS), targets=TOKENS, sink=trace, projection=projector(VOCAB, 1),
            deadline=time.monotonic() + 10,
        )  # fmt: skip
        monkeypatch.setattr(evaluation, "answer", lambda ranges: happened.append("answered"))
        evaluation.run()
    ours.close()
    assert happened == ["answered", "answered", "scored 1", "answered", "answered", "scored 4"]
    assert [type(event).__name__ for event in trace.events] == ["Commit", "Read", "Read"] * 2


def test_bytes_that_are_no_frame() -> None:
    ours, theirs = pair()
    theirs.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
    evaluation = Evaluation(
        ours, source=Real(TOKENS), targets=TOKENS, sink=Trace(8), projection=projector(VOCAB, 1),
        deadline=time.monotonic() + 10,
    )  # fmt: skip
    with pytest.raises(SubmissionError, match="broke the wire's format: not a frame"):
        evaluation.run()
    ours.close()
    theirs.close()


def test_descriptors_are_not_taken() -> None:
    before = len(os.listdir("/proc/self/fd"))

    def peer(wire: Wire) -> None:
        wire.send(Kind.DONE, fds=[0, 1, 2])

    refused(peer, "sent file descriptors")
    assert len(os.listdir("/proc/self/fd")) == before


def test_texts_for_people_carry_no_terminal_escapes() -> None:
    def peer(wire: Wire) -> None:
        wire.send(Kind.FAILED, text("\x1b[2J\x07line one\r\nline two" + "x" * 10_000))

    with pytest.raises(SubmissionError) as caught:
        serve(peer)
    said = str(caught.value)
    assert said.isprintable() and "line one  line two" in said and len(said) <= 500


def test_notices_are_bounded() -> None:
    def peer(wire: Wire) -> None:
        for index in range(300):
            wire.send(Kind.NOTICE, text(f"network: {index}"))
        wire.send(Kind.DONE)

    evaluation, _ = serve(peer)
    assert len(evaluation.notices) == 100


def test_silence_until_the_deadline() -> None:
    refused(lambda wire: None, "did not finish within its time limit", hang_up=False, seconds=0.05)


def test_half_a_frame_until_the_deadline() -> None:
    ours, theirs = pair()
    theirs.sendall(b"GWR1\x19")
    evaluation = Evaluation(
        ours, source=Real(TOKENS), targets=TOKENS, sink=Trace(8), projection=projector(VOCAB, 1),
        deadline=time.monotonic() + 0.05,
    )  # fmt: skip
    with pytest.raises(SubmissionError, match="time limit"):
        evaluation.run()
    ours.close()
    theirs.close()


def test_a_peer_that_asks_and_never_reads_the_answer() -> None:
    long = np.zeros(1 << 23, np.uint16)  # more than a socket's buffers hold
    ours, theirs = pair()
    evaluation = Evaluation(
        ours, source=Real(long), targets=long, sink=Trace(len(long)), projection=projector(VOCAB, 1),
        deadline=time.monotonic() + 0.5,
    )  # fmt: skip
    with Wire(theirs) as other:
        other.send(Kind.READ, np.array([[0, len(long)]], np.int64), code(Purpose.INPUT))
        with pytest.raises(SubmissionError, match="time limit"):
            evaluation.run()
    ours.close()


def test_a_peer_that_hangs_up() -> None:
    refused(lambda wire: put(wire, [1]), "ended early: its process ended")


def test_a_peer_that_hangs_up_before_the_answer() -> None:
    refused(lambda wire: wire.send(Kind.READ, RANGES, code(Purpose.INPUT)), "ended early: its process ended")


def test_clones_know_what_was_scored_and_learn_for_themselves() -> None:
    ours, theirs = pair()
    twin_ours, twin_theirs = pair()
    evaluation = Evaluation(
        ours, source=Real(TOKENS), targets=TOKENS, sink=Trace(8), projection=projector(VOCAB, 1),
        deadline=time.monotonic() + 10,
    )  # fmt: skip
    evaluation.scored[1:4] = True
    clone = evaluation.clone(twin_ours, Perturbed(TOKENS, Probe("swap", 5, token=0)), Trace(8))
    with Wire(twin_theirs) as peer, Wire(theirs):
        put(peer, [4])
        peer.send(Kind.DONE)
        clone.run()
    assert clone.scored.tolist() == [True] * 5 + [False] * 3 and not evaluation.scored[4]
    ours.close()
    twin_ours.close()

"""The submission's end of the wire, with a scripted referee at the other."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from harness.kit.stream import Batch, NotScoredYet, Stream
from harness.kit.watch import Watch
from harness.kit.windows import Window
from harness.sandbox.protocol import Kind, Purpose, Rows
from harness.sandbox.wire import Frame, Wire, WireClosed, pair, text, untext

TOKENS, VOCAB = 40, 7
REAL = (np.arange(TOKENS) * 3 % VOCAB).astype(np.uint16)


class Told(Watch):
    """A watch that is told what happened."""

    def happen(self, *, steps: int = 0, backwards: int = 0, notice: str | None = None) -> None:
        self._steps += steps
        self._backwards += backwards
        if notice:
            self._notices.append(notice)


def stream_on(wire: Wire, watch: Watch | None = None) -> Stream:
    return Stream(wire, tokens=TOKENS, vocab_size=VOCAB, watch=watch or Watch(), device=torch.device("cpu"))


def answer(wire: Wire, frame: Frame, tokens: np.ndarray) -> None:
    wire.send(Kind.TOKENS, np.concatenate([tokens[a:b] for a, b in frame.arrays[0]]))


@dataclass
class Referee:
    """Answers every read until the peer hangs up; keeps what came."""

    refuse_history: bool = False
    frames: list[Frame] = field(default_factory=list)

    @property
    def kinds(self) -> list[Kind]:
        return [Kind(frame.kind) for frame in self.frames]

    def of(self, kind: Kind) -> list[Frame]:
        return [frame for frame in self.frames if frame.kind == kind]

    def serve(self, wire: Wire) -> None:
        while True:
            try:
                frame = wire.recv()
            except WireClosed:
                return
            self.frames.append(frame)
            if frame.kind == Kind.READ:
                if self.refuse_history and frame.arrays[1][0] == Purpose.HISTORY:
                    wire.send(Kind.REFUSED, text("position 9 is not scored yet"))
                else:
                    answer(wire, frame, REAL)


@contextmanager
def refereed(referee: Referee, watch: Watch | None = None) -> Iterator[Stream]:
    ours, theirs = pair()
    with Wire(theirs) as other:
        thread = threading.Thread(target=referee.serve, args=(other,))
        thread.start()
        try:
            yield stream_on(ours, watch)
        finally:
            ours.close()
            thread.join(10)
    assert not thread.is_alive()


def test_batches_hold_the_right_inputs_and_positions() -> None:
    seen: list[int] = []
    with refereed(Referee()) as stream:
        for batch in stream.windows(length=12, stride=5, batch_size=3):
            assert batch.inputs.shape == batch.scored.shape == (len(batch.windows), 12)
            assert batch.inputs.dtype == torch.int64 and batch.scored.dtype == torch.bool
            for row, window in enumerate(batch.windows):
                expected = np.zeros(12, np.int64)
                expected[: window.size] = REAL[window.start : window.start + window.size]
                assert batch.inputs[row].tolist() == expected.tolist()
            rows, columns = batch.scored.nonzero(as_tuple=True)
            starts = torch.tensor([window.start for window in batch.windows])
            assert batch.positions.tolist() == (starts[rows] + columns + 1).tolist()
            seen += batch.positions.tolist()
    assert seen == list(range(1, TOKENS))


def test_targets_are_the_tokens_after_the_inputs_and_are_written_down_as_such() -> None:
    referee = Referee()
    with refereed(referee) as stream:
        for batch in stream.windows(length=12, stride=5, batch_size=3):
            targets = stream.targets(batch)
            assert targets[batch.scored].tolist() == REAL[batch.positions.numpy()].tolist()
    purposes = [Purpose(frame.arrays[1][0]) for frame in referee.of(Kind.READ)]
    assert purposes == [Purpose.INPUT, Purpose.TARGET] * (len(purposes) // 2) and purposes


def test_read_and_history_ask_for_their_range() -> None:
    referee = Referee()
    with refereed(referee) as stream:
        assert stream.read(3, 9).tolist() == REAL[3:9].tolist()
        assert stream.history(0, 4).tolist() == REAL[:4].tolist()
    asked = [(frame.arrays[0].tolist(), Purpose(frame.arrays[1][0])) for frame in referee.frames]
    assert asked == [([[3, 9]], Purpose.INPUT), ([[0, 4]], Purpose.HISTORY)]


def test_a_refused_history_raises_and_the_stream_goes_on() -> None:
    with refereed(Referee(refuse_history=True)) as stream:
        with pytest.raises(NotScoredYet, match="position 9 is not scored yet"):
            stream.history(0, 10)
        assert stream.read(0, 3).tolist() == REAL[:3].tolist()


def test_full_rows_and_scored_rows_commit_the_same() -> None:
    referee = Referee()
    rows = torch.randn(3, 12, VOCAB, generator=torch.Generator().manual_seed(0))
    with refereed(referee) as stream:
        batch = next(stream.windows(length=12, stride=5, batch_size=3))
        stream.score(batch, rows)
        stream.score(batch, rows[batch.scored])
    full, picked = referee.of(Kind.COMMIT)
    for left, right in zip(full.arrays, picked.arrays, strict=True):
        np.testing.assert_array_equal(left, right)
    assert full.arrays[0].tolist() == batch.positions.tolist()
    np.testing.assert_array_equal(full.arrays[1], rows[batch.scored].numpy())


@pytest.mark.parametrize(("kind", "code"), [("logits", Rows.LOGITS), ("log_probs", Rows.LOG_PROBS)])
def test_commits_are_float32_whatever_the_model_computes_in(kind: str, code: Rows) -> None:
    referee = Referee()
    rows = torch.randn(2, VOCAB, dtype=torch.bfloat16, requires_grad=True)
    with refereed(referee) as stream:
        stream.commit(torch.tensor([4, 2], dtype=torch.int32), rows, kind=kind)  # type: ignore[arg-type]
    positions, values, how = referee.frames[0].arrays
    assert positions.dtype == np.int64 and positions.tolist() == [4, 2]
    assert values.dtype == np.float32 and how.tolist() == [code]
    np.testing.assert_array_equal(values, rows.detach().float().numpy())


def test_a_layout_of_ones_own() -> None:
    with refereed(Referee()) as stream:
        batch: Batch = stream.batch([Window(20, 6, 2), Window(0, 3, 0)], 6)
    assert batch.positions.tolist() == [23, 24, 25, 26, 1, 2, 3]
    assert batch.inputs[1].tolist() == [*REAL[:3].tolist(), 0, 0, 0]


def test_updates_and_notices_are_told_before_the_next_frame() -> None:
    referee, watch = Referee(), Told()
    with refereed(referee, watch) as stream:
        watch.happen(steps=2, backwards=3)
        stream.read(0, 2)
        stream.read(2, 4)
        watch.happen(backwards=1, notice="network: socket.connect")
        stream.commit(torch.tensor([1]), torch.zeros(1, VOCAB))
        watch.happen(steps=1)
        stream.close()
    assert referee.kinds == [
        Kind.UPDATE, Kind.READ, Kind.READ, Kind.UPDATE, Kind.NOTICE, Kind.COMMIT, Kind.UPDATE, Kind.DONE
    ]  # fmt: skip
    assert [frame.arrays[0].tolist() for frame in referee.of(Kind.UPDATE)] == [[2, 3], [0, 1], [1, 0]]
    assert untext(referee.of(Kind.NOTICE)[0].arrays[0], 100) == "network: socket.connect"


def test_a_batch_needs_a_window() -> None:
    with refereed(Referee()) as stream, pytest.raises(ValueError, match="batch_size must be at least 1"):
        next(stream.windows(length=4, stride=2, batch_size=0))


def in_a_process(run: Callable[[Stream], None]) -> tuple[Wire, int]:
    """`run` on a stream of its own in a forked process, as the worker does it; our wire and the process's id."""
    ours, theirs = pair()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ours.close()
            first = Wire(theirs)  # held here, as the worker holds it: a clone has to close it, not just to forget it
            stream = stream_on(first)
            run(stream)
            stream.close()
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    return ours, pid


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_a_fork_gives_processes_that_answer_on_wires_of_their_own(order: tuple[int, ...]) -> None:
    def submission(stream: Stream) -> None:
        before = stream.read(0, 3)
        after = stream.read(3, 6)
        stream.commit(torch.tensor([1]), torch.cat([before, after, after[:1]]).float()[None])

    wire, pid = in_a_process(submission)
    answer(wire, wire.recv(10), REAL)
    question = wire.recv(10)
    clones = [pair() for _ in range(2)]
    wire.send(Kind.FORK, fds=[theirs.fileno() for _, theirs in clones])
    for _, theirs in clones:
        theirs.close()
    said = wire.recv(10)  # from the process that was there before: it was split
    assert said.kind == Kind.UNSPLIT and not len(said.arrays[0])
    wires = [wire, *(ours for ours, _ in clones)]
    lies = [(REAL + shift) % VOCAB for shift in range(3)]
    for one, tokens in ((wires[i], lies[i]) for i in order):  # in any order: none waits for another
        answer(one, question, tokens.astype(np.uint16))
        commit = one.recv(10)
        expected = [*REAL[:3], *tokens[3:6], tokens[3]]
        assert commit.kind == Kind.COMMIT and commit.arrays[1][0].tolist() == expected
        assert one.recv(10).kind == Kind.DONE
        with pytest.raises(WireClosed):  # none of the others, which still wait, holds this wire's other end
            one.recv(10)
        one.close()
    assert os.waitpid(pid, 0)[1] == 0


def test_a_clone_can_be_split_again_and_one_that_is_dropped_harms_none() -> None:
    def submission(stream: Stream) -> None:
        total = sum(int(stream.read(a, a + 1)[0]) for a in range(4))
        stream.commit(torch.tensor([1]), torch.full((1, VOCAB), float(total)))

    wire, pid = in_a_process(submission)
    answer(wire, wire.recv(10), REAL)
    for _ in range(2):  # each time the clone goes on and the one before is dropped, as the referee's coin may have it
        question = wire.recv(10)
        ours, theirs = pair()
        wire.send(Kind.FORK, fds=[theirs.fileno()])
        theirs.close()
        wire.close()
        wire = ours
        answer(wire, question, REAL)
    answer(wire, wire.recv(10), REAL)
    assert wire.recv(10).arrays[1][0, 0] == REAL[:4].sum()
    wire.close()
    os.waitpid(pid, 0)

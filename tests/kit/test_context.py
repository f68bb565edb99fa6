"""What a context holds: laws of the masks, the shares of PR #1306 and #1350, and where the targets are read."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.kit.context import context_mask, contexts
from harness.kit.model import GPT
from harness.kit.stream import NotScoredYet, Stream
from harness.kit.windows import Window, sliding
from harness.sandbox.protocol import Purpose
from tests.kit.slot_restated import VOCAB, random_model


def fitted(windows: Sequence[Window], length: int, focal: int | None = None) -> list[set[int]]:
    """Stream positions in each window's context."""
    mask = context_mask(windows, length, focal)
    return [
        {window.start + 1 + p for p in row.nonzero()[:, 0].tolist()} for window, row in zip(windows, mask, strict=True)
    ]


def scored(window: Window) -> set[int]:
    return set(range(window.start + 1 + window.first, window.start + 1 + window.size))


@given(st.data())
def test_a_context_holds_what_is_scored_before_its_window(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 40))
    stride = data.draw(st.integers(1, length))
    focal = data.draw(st.none() | st.integers(1, 50))
    windows = list(sliding(data.draw(st.integers(1, 300)), length, stride))
    before: set[int] = set()
    for window, context in zip(windows, fitted(windows, length, focal), strict=True):
        assert not context & scored(window)
        assert context <= before
        read = set(range(window.start + 1, window.start + 1 + window.size))
        lowest = window.start + 1 + (0 if focal is None else max(length - focal, 0))
        assert context == {position for position in read - scored(window) if position >= lowest}
        before |= scored(window)


def test_the_mask_of_1306_and_of_1350() -> None:
    length, stride = 2048, 64
    windows = list(sliding(2048 + 40 * 64, length, stride))[:32]
    # #1306: everything before the last 64 of a window that is not the stream's first
    expected = torch.tensor([[w.start != 0 and p < length - stride for p in range(length)] for w in windows])
    assert torch.equal(context_mask(windows, length), expected)
    # #1350: of that, what lies in the last 128
    focal = context_mask(windows, length, 128)
    assert torch.equal(focal, expected & (torch.arange(length) >= 1920))
    assert focal.sum(1).tolist() == [0] + [64] * 31


def leaking(windows: list[Window], length: int, focal: int | None = None) -> tuple[Fraction, Fraction]:
    """Of a batch that shares a vector: which part of the scored positions, and of the loss's terms, are both."""
    own = set().union(*(scored(window) for window in windows))
    each = fitted(windows, length, focal)
    terms = sum(len(context) for context in each)
    return (
        Fraction(len(own & set().union(*each)), len(own)),
        Fraction(sum(len(context & own) for context in each), terms),
    )


def test_the_shares_of_the_record_geometry() -> None:
    batch = list(sliding(10_000, 2048, 64))[32:64]
    assert leaking(batch, 2048) == (Fraction(31, 32), Fraction(1, 2))
    assert leaking(batch, 2048, 128) == (Fraction(31, 32), Fraction(31, 32))
    assert leaking(batch[:1], 2048) == leaking(batch[:1], 2048, 128) == (0, 0)


@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 9), st.integers(0, 4))
def test_the_share_that_a_batch_leaks(stride: int, more: int, size: int, start: int) -> None:
    length = 2 * stride + more  # a context at least as long as a stride
    batch = list(sliding(length + (size + start + 2) * stride, length, stride))[1 + start : 1 + start + size]
    context = length - stride
    share, weight = leaking(batch, length)
    assert share == Fraction(size - 1, size)
    assert weight == Fraction(sum(min(i * stride, context) for i in range(size)), size * context)


class Local(Stream):
    """A stream whose referee is this process: refuses history that is not committed, and notes what is read."""

    def __init__(self, ids: Tensor) -> None:
        self.ids, self.tokens, self.device = ids, len(ids), torch.device("cpu")
        self.done, self.reads = 0, list[Purpose]()

    def _read(self, ranges: Sequence[tuple[int, int]], purpose: Purpose) -> Tensor:
        self.reads.append(purpose)
        if purpose == Purpose.HISTORY and any(stop - 1 > self.done for _, stop in ranges):
            raise NotScoredYet("not committed")
        return torch.cat([self.ids[start:stop] for start, stop in ranges])

    def commit(self, positions: Tensor, rows: Tensor, *, kind: str = "logits") -> None:
        assert positions.tolist() == list(range(self.done + 1, self.done + 1 + len(rows)))
        self.done = int(positions[-1])


@pytest.fixture(scope="module")
def model() -> GPT:
    return random_model()


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("focal", [None, 7])
def test_contexts_give_hidden_states_and_their_targets(model: GPT, size: int, focal: int | None) -> None:
    stream = Local(torch.randint(VOCAB, (60,), generator=torch.Generator().manual_seed(1)))
    for context in contexts(model, stream, length=16, stride=5, batch_size=size, focal=focal):
        seen = [at for window in fitted(context.batch.windows, 16, focal) for at in sorted(window)]
        assert context.targets.tolist() == stream.ids[seen].tolist()
        assert torch.equal(context.hidden, model.hidden(context.batch.inputs))
        assert len(context.fitted) == len(seen) and len(context.scored) == len(context.batch.positions)
        stream.score(context.batch, model.head(context.scored))
    assert stream.done == 59
    assert Purpose.TARGET not in stream.reads if size == 1 else Purpose.HISTORY not in stream.reads


def test_a_context_of_what_is_not_scored_is_refused(model: GPT) -> None:
    stream = Local(torch.zeros(60, dtype=torch.int64))
    with pytest.raises(NotScoredYet):
        list(contexts(model, stream, length=16, stride=5, batch_size=1))  # nothing was committed between


def test_hidden_states_before_the_final_norm(model: GPT) -> None:
    stream = Local(torch.randint(VOCAB, (17,), generator=torch.Generator().manual_seed(1)))
    (context,) = contexts(model, stream, length=16, stride=5, batch_size=1, before_norm=True)
    assert torch.equal(context.hidden, model.body(context.batch.inputs))

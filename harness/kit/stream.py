"""The submission's end of an evaluation: read tokens, commit rows.

The referee on the other end of the wire owns the tokens, the scores and the trace. Everything that is read or
committed here is written down there, in order, together with the optimizer steps taken in between.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from harness.kit.watch import Watch
from harness.kit.windows import Window, sliding
from harness.sandbox.protocol import Kind, Purpose, Rows
from harness.sandbox.wire import Frame, Wire, text, untext

T = TypeVar("T")


class NotScoredYet(LookupError):
    """`history` was asked for tokens whose positions have not been committed."""


@dataclass(frozen=True)
class Batch:
    """Windows that are evaluated together.

    Attributes:
        windows: the windows, in stream order.
        inputs: int64 [B, L], zero-padded on the right where a window is shorter than L.
        scored: bool [B, L], True where the window scores the position (its target).
        positions: int64 [n], the stream positions that the True entries of `scored` stand for, row-major.
    """

    windows: tuple[Window, ...]
    inputs: Tensor
    scored: Tensor
    positions: Tensor


class Stream:
    """A validation stream of `tokens` tokens, x_0 .. x_{tokens-1}; positions 1 .. tokens-1 are to be scored.

    Several ranks may play it, `torch.distributed` between them (`harness run --ranks`). Each has a stream of its own:
    `rank` of `size`. `windows` deals its batches to the ranks in turn; a loop of your own does so with `deal`.
    """

    rank = 0
    size = 1

    def __init__(
        self,
        wire: Wire,
        *,
        tokens: int,
        vocab_size: int,
        watch: Watch,
        device: torch.device,
        rank: int = 0,
        size: int = 1,
    ) -> None:
        self._wire = wire
        self._watch = watch
        self._clones: list[int] = []
        self.tokens = tokens
        self.vocab_size = vocab_size
        self.device = device
        self.rank = rank
        self.size = size

    @property
    def wire(self) -> Wire:
        """This process's own connection to the referee."""
        return self._wire

    def windows(self, length: int, stride: int, batch_size: int) -> Iterator[Batch]:
        """Sliding windows in stream order, `batch_size` at a time; every position is scored by exactly one.

        With several ranks, those batches whose turn is this rank's.

        Args:
            length: inputs per window.
            stride: positions that each window after the first one scores.
            batch_size: windows per batch.
        """
        layout = sliding(self.tokens - 1, length, stride)
        for group in self.deal(_batched(layout, batch_size)):
            yield self.batch(group, length)

    def deal(self, items: Iterable[T]) -> Iterator[T]:
        """Those of the items that are this rank's: dealt in turn, so that every rank gets every size-th."""
        return islice(items, self.rank, None, self.size)

    def batch(self, windows: Sequence[Window], length: int) -> Batch:
        """Read the inputs of some windows (a layout of your own; `windows` is the plain case)."""
        ranges = [(w.start, w.start + w.size) for w in windows]
        flat = self._read(ranges, Purpose.INPUT)
        inputs = torch.zeros(len(windows), length, dtype=torch.int64)
        scored = torch.zeros(len(windows), length, dtype=torch.bool)
        positions = []
        offset = 0
        for row, w in enumerate(windows):
            inputs[row, : w.size] = flat[offset : offset + w.size]
            scored[row, w.first : w.size] = True
            positions.append(torch.arange(w.start + 1 + w.first, w.start + 1 + w.size))
            offset += w.size
        return Batch(tuple(windows), inputs.to(self.device), scored.to(self.device), torch.cat(positions))

    def targets(self, batch: Batch) -> Tensor:
        """The tokens that the batch's windows predict, int64 [B, L]; positions not scored yet are among them.

        Reading the targets of unscored positions is allowed and is written to the trace: real submissions do it.
        Whether they then enter a row that they must not enter is what the flip tests find out.
        """
        ranges = [(w.start + 1, w.start + 1 + w.size) for w in batch.windows]
        flat = self._read(ranges, Purpose.TARGET)
        targets = torch.zeros_like(batch.inputs)
        offset = 0
        for row, w in enumerate(batch.windows):
            targets[row, : w.size] = flat[offset : offset + w.size].to(self.device)
            offset += w.size
        return targets

    def history(self, start: int, stop: int) -> Tensor:
        """Tokens x_start .. x_{stop-1}, int64, all of which must be scored already (x_0 always is).

        With several ranks, another one may still have to score them: what counts is that they come before this rank's
        next rows in the stream. That is held against the order of all that was done, and ends the run if it is not so.

        Raises:
            NotScoredYet: some position in the range has not been committed.
        """
        return self._read([(start, stop)], Purpose.HISTORY).to(self.device)

    def read(self, start: int, stop: int) -> Tensor:
        """Tokens x_start .. x_{stop-1}, int64, scored or not; written to the trace as a read of inputs."""
        return self._read([(start, stop)], Purpose.INPUT).to(self.device)

    def score(self, batch: Batch, rows: Tensor, *, kind: Literal["logits", "log_probs"] = "logits") -> None:
        """Commit the rows of a batch's scored positions, in stream order of the windows.

        Args:
            batch: what `windows` gave.
            rows: [B, L, V] for all positions, or [n, V] for the scored ones only (row-major order of
                `batch.scored`); any float dtype.
            kind: "logits" are normalised by the referee; "log_probs" are taken as they are, and their sum checked.
        """
        if rows.dim() == 3:
            rows = rows[batch.scored]
        self.commit(batch.positions, rows, kind=kind)

    def commit(self, positions: Tensor, rows: Tensor, *, kind: Literal["logits", "log_probs"] = "logits") -> None:
        """Commit one row [V] for each of `positions` (int64 [n], 1 .. tokens-1); a commit is final."""
        self._flush()
        self._tell_state()
        _floating(rows, "rows")
        where = positions.detach().to("cpu", torch.int64).numpy()
        values = rows.detach().to("cpu", torch.float32).contiguous().numpy()
        code = Rows.LOGITS if kind == "logits" else Rows.LOG_PROBS
        self._wire.send(Kind.COMMIT, where, values, np.array([code], np.uint8))

    def claim(self, positions: Tensor, log_probs: Tensor) -> None:
        """Commit only the log-probability of each position's realised token, as some real submissions do.

        The referee charges what is claimed. The rest of the row it cannot see, so it asks for it: it replaces the token
        by others, and adds up what is claimed for them (the Kraft sum, see `normalization`).

        Args:
            positions: int64 [n], 1 .. tokens-1.
            log_probs: float [n], nats.
        """
        self._flush()
        self._tell_state()
        _floating(log_probs, "log_probs")
        where = positions.detach().to("cpu", torch.int64).numpy()
        values = log_probs.detach().to("cpu", torch.float32).reshape(-1, 1).contiguous().numpy()
        self._wire.send(Kind.COMMIT, where, values, np.array([Rows.REALISED], np.uint8))

    def register_state(self, name: str, value: Any) -> None:
        """Show the referee state that rows are computed from and that changes as the stream is read, such as a cache.

        The model's parameters, its buffers and its optimizers are seen without. Before every commit a digest of all of
        it enters the ledger, and the audit checks that it holds nothing of tokens that are not scored by then; what is
        read ahead has no place in it. A submission that registers nothing is judged by its rows alone.

        Args:
            name: for reports; a second value of one name takes the place of the first.
            value: tensors, arrays, modules, optimizers, plain values, or mappings and sequences of them, to be changed
                in place; or a function that returns them.
        """
        self._watch.state.register(name, value)

    def meet(self) -> None:
        """Tell the referee that ranks are about to exchange something, and wait until all of them are.

        `torch.distributed`'s collective operations call this.
        """
        self._flush()
        self._wire.send(Kind.MEET)
        self._wire.recv()

    def close(self) -> None:
        """Say that every row is committed; the worker calls this."""
        self._flush()
        self._wire.send(Kind.DONE)

    def _read(self, ranges: Sequence[tuple[int, int]], purpose: Purpose) -> Tensor:
        self._flush()
        self._wire.send(Kind.READ, np.array(ranges, np.int64).reshape(-1, 2), np.array([purpose], np.uint8))
        while True:
            frame = self._wire.recv()
            if frame.kind == Kind.FORK:
                self._fork(frame)
            elif frame.kind == Kind.REFUSED:
                raise NotScoredYet(untext(frame.arrays[0], 1000))
            else:
                return torch.from_numpy(frame.arrays[0].astype(np.int64))

    def _fork(self, frame: Frame) -> None:
        """Become several processes that know the same and differ only in the wire they listen to.

        The referee then answers each with other tokens. Which of them it scores is decided there, after the fork.
        A process with threads is not split: none of them would survive in a copy, which then waits for them forever.
        """
        if torch.get_num_threads() > 1:
            for fd in frame.fds:
                os.close(fd)
            self._wire.send(Kind.UNSPLIT, text(f"it computes on {torch.get_num_threads()} threads"))
            return
        self._clones = [pid for pid in self._clones if os.waitpid(pid, os.WNOHANG) == (0, 0)]
        for index, fd in enumerate(frame.fds):
            pid = os.fork()
            if pid == 0:
                self._wire.close()
                for other in frame.fds[:index] + frame.fds[index + 1 :]:
                    os.close(other)
                self._wire = Wire(socket.socket(fileno=fd))
                self._clones = []
                return
            self._clones.append(pid)
        for fd in frame.fds:
            os.close(fd)
        self._wire.send(Kind.UNSPLIT, text(""))

    def _flush(self) -> None:
        steps, backwards = self._watch.take_updates()
        if steps or backwards:
            self._wire.hold(Kind.UPDATE, np.array([steps, backwards], np.int64))
        for notice in self._watch.take_notices():
            self._wire.hold(Kind.NOTICE, text(notice))

    def _tell_state(self) -> None:
        digests = self._watch.take_state()
        if digests is not None:
            self._wire.hold(Kind.STATE, np.array(digests, np.int64))


def _floating(rows: Tensor, what: str) -> None:
    if not rows.is_floating_point():
        kind = str(rows.dtype).removeprefix("torch.")
        raise TypeError(f"{what} are {kind}; a commit takes floating-point numbers, such as the model's logits")


def _batched(layout: Iterator[Window], size: int) -> Iterator[tuple[Window, ...]]:
    if size < 1:
        raise ValueError(f"batch_size must be at least 1, got {size}")
    while group := tuple(islice(layout, size)):
        yield group

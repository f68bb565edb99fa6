"""Decode a segment from an evaluation that is never told a token before it has been decoded."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from harness.errors import SubmissionError
from harness.referee.coder import Decoder, Row, log_chances
from harness.referee.session import Evaluation
from harness.referee.sinks import Ints, RowSink
from harness.referee.source import Tokens
from harness.sandbox.protocol import Rows


class Keeper(RowSink):
    """Keeps the row of each wanted position's first commit, in the order of the commits."""

    def __init__(self, first: int, last: int) -> None:
        self.kept: dict[int, Row] = {}
        self.kinds: dict[int, Rows] = {}
        self._first = first
        self._last = last

    def rows(self, positions: Ints, rows: Row, kind: Rows) -> None:
        """See `RowSink.rows`.

        Raises:
            SubmissionError: only the realised token's probability is claimed, which is nothing that can be decoded.
        """
        for index in np.flatnonzero((positions >= self._first) & (positions <= self._last)):
            position = int(positions[index])
            if kind == Rows.REALISED:
                raise SubmissionError(f"the row for position {position} is one probability; nothing decodes from that")
            if position not in self.kinds:
                self.kept[position], self.kinds[position] = rows[index].copy(), kind

    @property
    def complete(self) -> bool:
        """There is a row for every wanted position."""
        return len(self.kinds) == self._last - self._first + 1


class Prefix:
    """The stream as far as it is decoded, and a filler for the rest: a source of tokens.

    Args:
        given: uint16 [n], the tokens that are known from the start: x_0, and what comes before the segment.
        filler: the token that stands for what is not decoded yet.
        length: tokens of the stream.
    """

    def __init__(self, given: Tokens, filler: int, length: int) -> None:
        self.known = len(given)
        self._tokens = np.full(length, filler, np.uint16)
        self._tokens[: len(given)] = given

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def tokens(self) -> Tokens:
        """What is decoded, uint16 [known], x_0 included."""
        return self._tokens[: self.known].copy()

    def append(self, token: int) -> None:
        """One more token is known."""
        self._tokens[self.known] = token
        self.known += 1

    def read(self, start: int, stop: int) -> Tokens:
        """See `source.Source.read`."""
        return self._tokens[start:stop].copy()


class Astray(Exception):
    """The code is impossible at a position: some row before it was not the one that it was written with."""

    def __init__(self, position: int) -> None:
        super().__init__(f"the code makes no sense from position {position} on")
        self.position = position


class _Complete(Exception):
    """Every token is decoded."""


class Unfolding:
    """Decodes a segment from an evaluation that is never told a token before it is decoded.

    Submissions read batches of overlapping windows ahead. Where a read asks for a token that is not decoded yet, the
    process is split; the copy is given a filler for everything unknown, runs until it commits the row for the first
    unknown position, and is dropped; that row decodes one token. When all that the read asks for is known, the process
    itself is answered, truthfully. A legal row does not depend on the filler. The cost is about a batch for each token.

    Args:
        evaluation: started with the same `prefix` as its source and `keeper` as its sink.
        prefix: grows by what is decoded.
        keeper: of the segment's positions.
        decoder: of the segment's code.
        last: the segment's last position; its first is the first that `prefix` does not know.
        observe: told of every (position, token, row) as it is decoded, token -1 where the code makes no sense; may
            raise Astray to end the decoding.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        prefix: Prefix,
        keeper: Keeper,
        decoder: Decoder,
        last: int,
        observe: Callable[[int, int, Row], None] = lambda position, token, row: None,
    ) -> None:
        self._evaluation = evaluation
        self._prefix = prefix
        self._keeper = keeper
        self._decoder = decoder
        self._last = last
        self._observe = observe

    @property
    def complete(self) -> bool:
        """All tokens are decoded."""
        return self._prefix.known > self._last

    def run(self) -> None:
        """Decode everything.

        Raises:
            SubmissionError: the submission failed, hung, or committed no row for some position.
            Astray: the code makes no sense with the rows that were committed.
        """
        try:
            self._evaluation.run(before_answer=self._before_answer, after_commit=self._advance)
        except _Complete:
            return
        if not self.complete:
            raise SubmissionError(f"evaluate() ended without a row for position {self._prefix.known}")

    def _before_answer(self, ranges: Ints) -> None:
        needed = int(ranges[ranges[:, 0] < ranges[:, 1], 1].max(initial=0))
        while self._prefix.known < needed and not self.complete:
            self._take(self._peek(ranges))
        if self.complete:
            raise _Complete

    def _advance(self) -> bool:
        """Decode what the process's own rows allow; True when that was all."""
        while not self.complete and (row := self._keeper.kept.pop(self._prefix.known, None)) is not None:
            self._take(row)
        return self.complete

    def _peek(self, ranges: Ints) -> Row:
        """The row for the first unknown position, from a copy of the process."""
        position = self._prefix.known
        keeper = Keeper(position, position)
        (wire,) = self._evaluation.fork(1)
        with wire:
            clone = self._evaluation.clone(wire, self._prefix, keeper)
            clone.answer(ranges)
            clone.run(after_commit=lambda: keeper.complete)
        if not keeper.complete:
            raise SubmissionError(f"evaluate() ended without a row for position {position}")
        return keeper.kept[position]

    def _take(self, row: Row) -> None:
        position = self._prefix.known
        token = self._decoder.next(row, position)
        self._observe(position, token, row)
        if token < 0:
            raise Astray(position)
        self._prefix.append(token)


class Comparison:
    """Compares what is decoded with what was coded; an `observe` of `Unfolding`, which it does nothing but end.

    Args:
        rows: float32 [V] each, those that the segment's positions were coded with.
        truth: uint16, the tokens from x_0 to the segment's last.

    Attributes:
        decoded: tokens that came back.
        compared, first_changed, change, wrong: see `ProofResult`.
    """

    def __init__(self, rows: list[Row], truth: Tokens) -> None:
        self.decoded = 0
        self.compared = 0
        self.first_changed: int | None = None
        self.change: float | None = 0.0
        self.wrong: tuple[int, int, int, float | None, float | None] | None = None
        self._rows = rows
        self._truth = truth

    def __call__(self, position: int, token: int, row: Row) -> None:
        """Compare one token and its row.

        Raises:
            Astray: it is another token.
        """
        mine, true = self._rows[position - len(self._truth)], int(self._truth[position])
        self.compared += 1
        if self.first_changed is None and not np.array_equal(mine, row):
            self.first_changed = position
            with np.errstate(invalid="ignore"):
                gap = np.abs(log_chances(mine, position) - log_chances(row, position))
            self.change = _finite(float(np.nan_to_num(gap, nan=0.0, posinf=np.inf).max()))
        if token != true:
            before, after = (-float(log_chances(one, position)[true]) for one in (mine, row))
            self.wrong = (position, true, token, _finite(before), _finite(after))
            raise Astray(position)
        self.decoded += 1


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

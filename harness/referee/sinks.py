"""Where an evaluation's events go."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from harness.referee.rows import Scored
from harness.sandbox.protocol import Purpose, Rows

Ints = NDArray[np.int64]


class Sink(Protocol):
    """Where an evaluation's events go: a `Trace`, or something that compares with one."""

    def read(self, ranges: Ints, purpose: Purpose) -> None:
        """Tokens are about to be handed out."""

    def commit(self, positions: Ints, scored: Scored, kind: Rows) -> None:
        """Rows were committed and scored."""

    def update(self, steps: int, backwards: int) -> None:
        """The box reported optimizer steps or backward passes."""


@runtime_checkable
class StateSink(Protocol):
    """A sink that wants to know the box's state, too."""

    def state(self, digests: tuple[int, ...]) -> None:
        """The next rows are committed in a state with these digests, one for each of `protocol.STATE`."""


class RowSink:
    """A sink that wants the rows themselves. They are not scored: while a text is decoded there are no targets."""

    def rows(self, positions: Ints, rows: NDArray[np.float32], kind: Rows) -> None:
        """Rows float32 [n, V] ([n, 1] for REALISED) were committed for positions int64 [n]; copy what you keep."""
        raise NotImplementedError

    def read(self, ranges: Ints, purpose: Purpose) -> None:
        """Reads are not kept."""

    def commit(self, positions: Ints, scored: Scored, kind: Rows) -> None:
        """Never called: rows go to `rows`."""
        raise NotImplementedError

    def update(self, steps: int, backwards: int) -> None:
        """Updates are not kept."""

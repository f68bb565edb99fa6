"""Ranks that run side by side: forks of this process, joined by wires, in lock step at every collective operation.

Ranks count *epochs*: every exchange ends one. Between two exchanges nothing passes from rank to rank, so what happened
in the same epoch on two ranks happened side by side, and what happened in an earlier one may have been known.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from harness.sandbox.wire import Wire, WireError, text, untext

_SHARE, _ENDED = 1, 2
_LONGEST = 4000


#: What collective operations make of all ranks' tensors, stacked along a new first dimension.
REDUCE: dict[str, Callable[[Any], Any]] = {
    "SUM": lambda stacked: stacked.sum(0),
    "AVG": lambda stacked: stacked.sum(0) / len(stacked),
    "PRODUCT": lambda stacked: stacked.prod(0),
    "MAX": lambda stacked: stacked.amax(0),
    "MIN": lambda stacked: stacked.amin(0),
}


class PeerEnded(RuntimeError):
    """Another rank ended while this one waited for it; the message says how."""


class Peers:
    """This process's place among the ranks.

    Attributes:
        rank: of this process.
        size: number of ranks.
        epoch: how many exchanges there were.
    """

    def __init__(self, rank: int = 0, size: int = 1, wires: dict[int, Wire] | None = None) -> None:
        self.rank = rank
        self.size = size
        self.epoch = 0
        self._wires = wires or {}
        self._children: list[int] = []

    @property
    def alone(self) -> bool:
        """Whether there is one rank only."""
        return self.size == 1

    @classmethod
    def start(cls, size: int) -> Peers:
        """Fork into `size` ranks; returns in each of them. Rank 0 is this process."""
        pairs = {(low, high): socket.socketpair() for high in range(size) for low in range(high)}
        children: list[int] = []
        rank = 0
        for other in range(1, size):
            pid = os.fork()
            if pid == 0:
                rank, children = other, []
                break
            children.append(pid)
        wires = {}
        for (low, high), (first, second) in pairs.items():
            for owner, other, end in ((low, high, first), (high, low, second)):
                if owner == rank:
                    wires[other] = Wire(end)
                else:
                    end.close()
        made = cls(rank, size, wires)
        made._children = children
        return made

    def exchange(self, head: object, arrays: Sequence[NDArray[Any]] = ()) -> list[tuple[Any, list[NDArray[Any]]]]:
        """Give every rank a JSON value and arrays, and get theirs, in order of the ranks; this rank's own included.

        Raises:
            PeerEnded: a rank is gone.
        """
        self.epoch += 1
        given = [text(json.dumps(head)), *arrays]
        found: list[tuple[Any, list[NDArray[Any]]]] = [(head, list(arrays))] * self.size
        for other in sorted(self._wires):
            try:
                # The lower rank of a pair speaks first; pairs go by rank, so nobody waits in a ring.
                if other > self.rank:
                    self._wires[other].send(_SHARE, *given)
                found[other] = self._heard(other)
                if other < self.rank:
                    self._wires[other].send(_SHARE, *given)
            except WireError as error:
                self._explain(other, error)
        return found

    def farewell(self, how: str) -> None:
        """Tell the others how this rank ended; they hear it when they next wait for it."""
        for wire in self._wires.values():
            try:
                wire.send(_ENDED, text(how[-_LONGEST:]), timeout=1.0)
            except WireError:
                pass  # it is gone itself
            wire.close()

    def wait(self) -> None:
        """For the ranks that were forked here."""
        for pid in self._children:
            os.waitpid(pid, 0)

    def _explain(self, other: int, error: WireError) -> NoReturn:
        try:
            self._heard(other)  # what it said last is still there, even if it reads no more
        except WireError:
            pass
        raise PeerEnded(f"rank {other} ended: {error}")

    def _heard(self, other: int) -> tuple[Any, list[NDArray[Any]]]:
        frame = self._wires[other].recv()
        if frame.kind == _ENDED:
            raise PeerEnded(f"rank {other} ended before this one: {untext(frame.arrays[0], _LONGEST)}")
        return json.loads(bytes(frame.arrays[0])), [np.asarray(item) for item in frame.arrays[1:]]

"""The way out of the process: one wire, one answer. A forked process gets another wire."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.sandbox.protocol import Kind
from harness.sandbox.wire import Frame, Wire
from harness.scripts.trace.observed import Observed


class Stopped(BaseException):
    """The run has been watched for long enough. Not an Exception: scripts catch those."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Outlet:
    """Where this process's answer goes.

    Attributes:
        facts: added to the answer's facts.
        collect: makes the answer; set once there is something to tell.
        extra: arrays that follow it.
    """

    def __init__(self, wire: Wire) -> None:
        self.facts: dict[str, Any] = {}
        self.collect: Callable[[], Observed] = Observed
        self.extra: Callable[[], list[np.ndarray[Any, Any]]] = list
        self._wire = wire

    def become(self, fd: int, others: tuple[int, ...]) -> None:
        """This process is a fork now: it answers on `fd`; the other wires are not its own."""
        self._wire.close()
        for other in others:
            os.close(other)
        self._wire = Wire(socket.socket(fileno=fd))

    def ask(self) -> Frame:
        """The next order."""
        return self._wire.recv()

    def send(self) -> None:
        """Tell what was seen."""
        observed = self.collect()
        self._wire.send(Kind.OBSERVED, *observed.to_arrays(), *self.extra())

    def finish(self, how: str) -> None:
        """Tell and end this process, from wherever in the script we are."""
        self.facts |= {"ended": how, "error": ""}
        try:
            self.send()
        finally:
            os._exit(0)


#: As in `locate`: (place, shape of the targets, positions or None).
Location = tuple[str, tuple[int, ...], "np.ndarray[Any, np.dtype[np.int64]] | None"]


def packed(locations: Sequence[Location]) -> list[np.ndarray[Any, Any]]:
    """Locations as two arrays: a JSON text as uint8, and all positions as int64."""
    head = [(place, list(shape), found is not None) for place, shape, found in locations]
    flat = [np.zeros(0, np.int64), *(found.reshape(-1) for _, _, found in locations if found is not None)]
    return [np.frombuffer(json.dumps(head).encode(), np.uint8), np.concatenate(flat)]


def unpacked(arrays: Sequence[np.ndarray[Any, Any]]) -> list[Location] | None:
    """What `packed` made; None of nothing."""
    if not arrays:
        return None
    made: list[Location] = []
    at = 0
    for place, shape, found in json.loads(bytes(arrays[0])):
        size = int(np.prod(shape)) if found else 0
        made.append((place, tuple(shape), arrays[1][at : at + size].reshape(shape) if found else None))
        at += size
    return made

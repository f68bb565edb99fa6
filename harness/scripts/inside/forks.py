"""The fork server: at an event, one child for each variant; each changes its tokens and goes on with the script.

At most two children run at a time, and the parent waits for them: a further flip costs what is left of the run, not
a whole run. A fork has one thread; thread pools are inline (see `standins.threads`), so nothing is missing from it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from harness.scripts.inside import clock
from harness.scripts.inside.order import Order
from harness.scripts.inside.outlet import Outlet

AT_A_TIME = 2
_LOOK_EVERY = 0.01


class Server:
    """What is to happen at which event.

    Args:
        order: its `facts["forks"]` is a list of {"event", "variants": indices into `edits`, "until", "last"}.
        outlet: of this process; a child's is turned to its own wire.
        folder: where the script runs.
    """

    def __init__(self, order: Order, outlet: Outlet, folder: str) -> None:
        self._order = order
        self._outlet = outlet
        self._folder = folder
        self._child = False
        self._until: int | None = None

    def hooks(self) -> Iterator[tuple[int, Callable[[], None]]]:
        """(event, what to do just before it), for the recorder; one for each event."""
        points = self._order.facts["forks"]
        events = {int(point["event"]) for point in points}
        events |= {int(point["until"]) for point in points if point["until"] is not None}
        for event in sorted(events):
            yield event, partial(self._reached, event)

    def _reached(self, event: int) -> None:
        if self._child:
            if self._until == event:
                self._outlet.finish("stopped")
            return  # a fork does not fork
        for point in self._order.facts["forks"]:
            if int(point["event"]) == event and not self._child:
                self._serve(point)

    def _serve(self, point: dict[str, Any]) -> None:
        running: set[int] = set()
        variants = list(point["variants"])
        for index in variants:
            while len(running) >= AT_A_TIME:
                self._wait(running)
            pid = os.fork()
            if pid == 0:
                self._become(int(index), point)
                return
            running.add(pid)
        while running:
            self._wait(running)
        if point["last"]:
            self._outlet.finish("stopped")

    def _wait(self, running: set[int]) -> None:
        """Until at least one of ours has ended; the script's own children are left alone."""
        while True:
            for pid in list(running):
                if os.waitpid(pid, os.WNOHANG) != (0, 0):
                    running.discard(pid)
                    return
            clock.real_sleep(_LOOK_EVERY)

    def _become(self, index: int, point: dict[str, Any]) -> None:
        from harness.sandbox.apart import set_apart
        from harness.scripts.inside.edits import Edit
        from harness.scripts.inside.standins import files

        set_apart()
        self._child = True
        self._until = None if point["until"] is None else int(point["until"])
        fds = self._order.fds
        self._outlet.become(fds[index], fds[:index] + fds[index + 1 :])
        positions, tokens = self._order.edits[index]
        files.apart(index)
        self._outlet.facts["fork"] = index
        self._outlet.facts["edited"] = {}
        if len(positions):
            edit = Edit.of(
                self._order.stream, self._order.position_of, int(self._order.facts["bos"]), positions, tokens
            )
            self._outlet.facts["edited"] = edit.everywhere(self._folder)
        gc.collect()

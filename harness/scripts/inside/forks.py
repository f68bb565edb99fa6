"""The fork server: at an event, one child for each variant; each changes its tokens and goes on with the script.

At most two children run at a time, and the parent waits for them: a further flip costs what is left of the run, not
a whole run. Where the order says so, the parent then asks for further variants before it ends. A fork has one thread;
thread pools are inline (see `standins.threads`), so nothing is missing from it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from harness.scripts.inside import clock
from harness.scripts.inside.order import Order, edits_of
from harness.scripts.inside.outlet import Outlet

AT_A_TIME = 2
_LOOK_EVERY = 0.01


class Server:
    """What is to happen at which event.

    Args:
        order: its `facts["forks"]` is a list of {"event", "variants": indices into `edits`, "until", "last",
            "further"}.
        outlet: of this process; a child's is turned to its own wire.
        folder: where the script runs.
    """

    def __init__(self, order: Order, outlet: Outlet, folder: str) -> None:
        self._order = order
        self._outlet = outlet
        self._folder = folder
        self._child = False
        self._until: int | None = None
        self._edits = order.edits
        self._fds = dict(enumerate(order.fds))  # of forks to come

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
        from harness.scripts.inside.edits import things

        variants = [int(index) for index in point["variants"]]
        # Once for all forks, which are copies: to look through a process takes as long as some passes do.
        gc.collect()
        held = things() if point["further"] or any(len(self._edits[index][0]) for index in variants) else []
        if self._forked(variants, point, held):
            return
        if point["further"]:
            frame = self._outlet.ask()
            first = len(self._edits)
            self._edits = [*self._edits, *edits_of(*frame.arrays[:3])]
            self._fds |= dict(enumerate(frame.fds, first))
            if self._forked(range(first, len(self._edits)), point, held):
                return
        if point["last"]:
            self._outlet.finish("stopped")

    def _forked(self, variants: Iterable[int], point: dict[str, Any], held: list[Any]) -> bool:
        """Whether this process is one of the forks; the other returns when all of them have ended."""
        running: set[int] = set()
        for index in variants:
            while len(running) >= AT_A_TIME:
                self._wait(running)
            pid = os.fork()
            if pid == 0:
                self._become(index, point, held)
                return True
            running.add(pid)
            os.close(self._fds.pop(index))  # so that it closes with the fork
        while running:
            self._wait(running)
        return False

    def _wait(self, running: set[int]) -> None:
        """Until at least one of ours has ended; the script's own children are left alone."""
        while True:
            for pid in list(running):
                if os.waitpid(pid, os.WNOHANG) != (0, 0):
                    running.discard(pid)
                    return
            clock.real_sleep(_LOOK_EVERY)

    def _become(self, index: int, point: dict[str, Any], held: list[Any]) -> None:
        from harness.sandbox.apart import set_apart
        from harness.scripts.inside.edits import Edit
        from harness.scripts.inside.standins import files

        set_apart()
        self._child = True
        self._until = None if point["until"] is None else int(point["until"])
        self._outlet.become(self._fds.pop(index), tuple(self._fds.values()))
        positions, tokens = self._edits[index]
        files.apart(index)
        self._outlet.facts["fork"] = index
        self._outlet.facts["edited"] = {}
        if len(positions):
            edit = Edit.of(
                self._order.stream, self._order.position_of, int(self._order.facts["bos"]), positions, tokens
            )
            self._outlet.facts["edited"] = edit.everywhere(self._folder, held)

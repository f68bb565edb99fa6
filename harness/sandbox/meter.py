"""CPU seconds of a box: of the processes that live in it, and of those that have ended."""

from __future__ import annotations

from collections.abc import Sequence

from harness.sandbox.processes import Process


class Meter:
    """Adds up what all processes of one box have used, from one look at them to the next.

    A process that has ended left its time with whoever waited for it, so nothing has to be seen while it lives. The
    time of one that nobody waited for is kept from when it was last seen.

    Args:
        keepers: how many of our own processes stand above the box's: their own time is not the box's, but that of
            orphans which they have reaped is.

    Attributes:
        seconds: user and system time, up to the last look.
    """

    def __init__(self, keepers: int) -> None:
        self._keepers = keepers
        self._living: dict[tuple[int, int], float] = {}
        self._ended = 0.0
        self.seconds = 0.0

    def look(self, found: Sequence[Process]) -> float:
        """Take in what `processes.below` found, dead ones included; returns `seconds`."""
        inside = [process for process in found if process.depth > self._keepers]
        left = sum(process.reaped_seconds for process in found)
        now = {(process.pid, process.started): process.cpu_seconds for process in inside}
        self._ended += sum(seconds for key, seconds in self._living.items() if key not in now)
        self._living = now
        own = sum(now.values())
        # Both count the living; one adds those that were waited for, the other those that were seen. Never both.
        self.seconds = own + max(left, self._ended)
        return self.seconds

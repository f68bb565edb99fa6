"""What a box may use, what it enforces, and how it ended: plain data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

#: How a box is to be made; "auto" is the strongest way that this machine offers.
Sandbox = Literal["auto", "bubblewrap", "native", "landlock", "none"]

State = Literal["ok", "RE", "SG", "TO", "ML", "PL", "OL", "KL", "XX"]

#: How long a box may take by the clock, in units of its CPU seconds; and seconds that it may take in any case.
BACKSTOP = 8.0
LEAST_BACKSTOP = 300.0
_AFTER_BACKSTOP = 60.0


@dataclass(frozen=True)
class Limits:
    """What one box may use.

    Attributes:
        memory_bytes: resident memory of all its processes together.
        processes: how many processes may live at once.
        cpu_seconds: of all its processes together, those that have ended included.
        output_bytes: of stdout and stderr kept in the log; the rest is thrown away.
        file_bytes: size of any one file, and of everything that it has written together, files without a name included.
        threads: how many threads all its processes may have at once.
        wall_seconds: from start to end; None for `BACKSTOP` times the CPU seconds, `LEAST_BACKSTOP` at least. How long
            something takes depends on what else the machine does, so this is there for what waits and never computes.
    """

    memory_bytes: int = 4 << 30
    processes: int = 64
    cpu_seconds: float = 900.0
    output_bytes: int = 1 << 20
    file_bytes: int = 1 << 30
    threads: int = 1024
    wall_seconds: float | None = None

    @property
    def backstop(self) -> float:
        """Seconds by the clock after which the box is ended, whatever it has used."""
        if self.wall_seconds is not None:
            return self.wall_seconds
        return max(BACKSTOP * self.cpu_seconds, LEAST_BACKSTOP)

    def with_more(self, cpu_seconds: float) -> Limits:
        """The same with more CPU seconds, and as much more by the clock as goes with them."""
        return replace(
            self, cpu_seconds=self.cpu_seconds + cpu_seconds, wall_seconds=self.backstop + BACKSTOP * cpu_seconds
        )

    @property
    def patience(self) -> float:
        """Seconds for which a reader waits for the box: longer than its watchdog, whose word says why it ended."""
        return self.backstop + _AFTER_BACKSTOP


@dataclass(frozen=True)
class Level:
    """What is really enforced, as start-up reported it.

    Attributes:
        name: "bubblewrap", "native", "landlock" or "none".
        filesystem: nothing can be read or written but what was named.
        network: no connection to anything outside, unix sockets included.
        processes: no process outside can be seen or signalled.
        privileges: no capabilities, and no way to gain any.
        note: one line for people: by what means, or why not.
    """

    name: str
    filesystem: bool
    network: bool
    processes: bool
    privileges: bool
    note: str

    @property
    def usable(self) -> bool:
        """Whether untrusted code may run at this level without somebody saying so."""
        return self.filesystem and self.network and self.privileges


@dataclass(frozen=True)
class Exit:
    """How a box ended.

    Attributes:
        state: "ok"; "RE" it raised or exited with a code; "SG" died by a signal; over a limit: "TO" time, "ML"
            memory, "PL" processes, "OL" disk; "KL" we killed it; "XX" the sandbox's own fault.
        code: exit code, if it exited.
        signal: signal number, if one ended it.
        max_rss_bytes: peak resident memory, as sampled (pages shared by several processes counted once) or as
            the kernel remembers for the largest single process, whichever is more.
        peak_processes: most processes seen at once.
        cpu_seconds: user and system time of all processes, those that had ended included.
        wall_seconds: from start to end.
        message: one line for people.
    """

    state: State
    code: int | None
    signal: int | None
    max_rss_bytes: int
    peak_processes: int
    cpu_seconds: float
    wall_seconds: float
    message: str

"""What a box may use, what it enforces, and how it ended: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "RE", "SG", "TO", "ML", "PL", "OL", "KL", "XX"]


@dataclass(frozen=True)
class Limits:
    """What one box may use.

    Attributes:
        memory_bytes: resident memory of all its processes together.
        processes: how many processes may live at once.
        wall_seconds: from start to end.
        output_bytes: of stdout and stderr kept in the log; the rest is thrown away.
        file_bytes: size of any one file, and of everything that it has written together, files without a name included.
        threads: how many threads all its processes may have at once.
    """

    memory_bytes: int = 4 << 30
    processes: int = 64
    wall_seconds: float = 900.0
    output_bytes: int = 1 << 20
    file_bytes: int = 1 << 30
    threads: int = 1024


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
        cpu_seconds: user and system time of all processes, as far as seen.
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

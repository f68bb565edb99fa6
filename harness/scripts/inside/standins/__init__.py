"""Stand-ins for what a script expects of eight H100s and a small CPU box lacks. One room per foreign thing.

A stand-in does what the original's documentation says, slowly and on the CPU. Where that is not known, the room
raises `NoStandIn` (what, where), and the run ends as "could not be followed": nothing is guessed. Every use is counted;
the count goes into the evidence.
"""

from __future__ import annotations

from harness.scripts.inside.standins import (
    attention,
    commands,
    compiling,
    cuda,
    cutlass,
    deltas,
    devices,
    files,
    groups,
    modal,
    packages,
    precision,
    scans,
    threads,
    triton,
)


def install() -> None:
    """Put all of them in place, for the rest of this process's life; before the script is run."""
    files.install()
    devices.install()
    cuda.install()
    precision.install()
    compiling.install()
    groups.install()
    attention.install()
    triton.install()
    cutlass.install()
    scans.install()
    deltas.install()
    packages.install()
    modal.install()
    commands.install()
    threads.install()

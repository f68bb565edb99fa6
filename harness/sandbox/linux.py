"""Boxes are made by the kernel of Linux: who is elsewhere is told so in one line, with what works there."""

from __future__ import annotations

import platform
import sys

from harness.errors import SandboxError

_NAMES = {"darwin": "macOS", "win32": "Windows", "cygwin": "Windows"}


def elsewhere(what: str = "what runs a submission") -> str | None:
    """Why `what` cannot be done on this system, and what can be done here all the same; None on Linux."""
    system: str = sys.platform
    if system == "linux":
        return None
    name = _NAMES.get(system) or platform.system() or system
    return (
        f"{what} needs Linux, and this is {name}; lint (of one folder or many), report, compare and board work here,"
        " and a container or virtual machine with Linux does the rest"
    )


def need_linux(what: str = "what runs a submission") -> None:
    """Refuse to begin what needs Linux, before anything is prepared.

    Raises:
        SandboxError: this is none; one line.
    """
    if why := elsewhere(what):
        raise SandboxError(why)

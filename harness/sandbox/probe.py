"""Which levels of sandbox work on this machine, found out by building an empty box at each."""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness.errors import SandboxError
from harness.sandbox.box import LEVELS, Box, Level, Limits


def available() -> list[Level]:
    """Every level but "none", from the strongest down; one that does not work here enforces nothing and says why."""
    found = []
    for name in LEVELS:
        with tempfile.TemporaryDirectory(prefix="golf-probe-") as folder:
            try:
                with Box("", read=(), limits=Limits(), log=Path(folder, "log"), sandbox=name) as box:
                    box.wait(60)
                    found.append(box.level)
            except SandboxError as error:
                found.append(Level(name, False, False, False, False, _reason(str(error))))
    return found


def _reason(message: str) -> str:
    """The part of "no sandbox works here (NAME: REASON); ..." that is about the one level that was tried."""
    return message.partition("(")[2].rpartition(")")[0].partition(": ")[2] or message

"""Boxes for the tests: the levels that this machine offers, and a short way to start one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.sandbox.box import LEVELS, Box, Level, Limits
from harness.sandbox.probe import available

MAINS = Path(__file__).parent / "mains"
MakeBox = Callable[..., Box]


@pytest.fixture(scope="session")
def offered() -> dict[str, Level]:
    return {level.name: level for level in available()}


@pytest.fixture(scope="session", params=LEVELS)
def isolated(request: pytest.FixtureRequest, offered: dict[str, Level]) -> str:
    """Each level of isolation in turn."""
    level = offered[request.param]
    if not level.usable:
        pytest.skip(f"this machine offers no {level.name} sandbox: {level.note}")
    return level.name


@pytest.fixture
def make_box(tmp_path: Path) -> MakeBox:
    def make(function: str, *args: str, limits: Limits | None = None, **options: Any) -> Box:
        options = {"read": [], "path": [MAINS], "log": tmp_path / "box.log"} | options
        limits = limits or Limits(wall_seconds=60)
        return Box("hostile", args=[function, *args], limits=limits, **options)

    return make


def survivors(box: Box) -> list[str]:
    """Processes that came from the box: its start-up line, which forks inherit, names its scratch folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(box.scratch).encode() in line:
                found.append(entry.name)
    return found

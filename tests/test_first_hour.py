"""docs/first-hour.md is executed: every fenced block of commands, in order, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"^```(sh|text)(?: exit=(\d+))?\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """Commands, the exit code of the last of them, and texts that its output holds."""

    commands: str
    code: int
    says: tuple[str, ...]


def blocks(text: str) -> list[Block]:
    found: list[Block] = []
    for kind, code, body in _BLOCK.findall(text):
        if kind == "sh":
            found.append(Block(body, int(code or 0), ()))
        else:
            found[-1] = Block(found[-1].commands, found[-1].code, tuple(body.splitlines()))
    return found


def test_the_blocks_are_read_as_they_are_written() -> None:
    text = "x\n\n```sh exit=2\na\n```\n\n```text\nb\nc\n```\n\n```sh\nd\n```\n"
    assert blocks(text) == [Block("a\n", 2, ("b", "c")), Block("d\n", 0, ())]


@pytest.mark.slow
@pytest.mark.box
def test_a_strangers_first_hour(tmp_path: Path) -> None:
    binary = tmp_path / "bin" / "harness"
    binary.parent.mkdir()
    binary.write_text(f'#!/usr/bin/env bash\nexec {sys.executable} -P -m harness "$@"\n')
    binary.chmod(0o755)
    home = tmp_path / "hour"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "HARNESS_CONFIG"))}
    env = {**kept, "PATH": f"{binary.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    found = blocks((ROOT / "docs" / "first-hour.md").read_text())
    assert len(found) >= 8
    for block in found:
        done = subprocess.run(
            ["bash", "-e", "-c", block.commands], cwd=home, env=env, capture_output=True, text=True, timeout=600,
            check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == block.code, f"{block.commands}\n{said}"
        assert not [text for text in block.says if text not in said], said
        assert "Traceback" not in said and "internal error" not in said

"""What tests of batches share: folders that are quick to lint, a repository, and a look at running items."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from harness import rules
from harness.batch.tasks import Settings

CODE = "import torch\nval_loss = val_bpb = 1.0\nprint(val_loss, val_bpb)\n"


def write_script(folder: Path, code: str = CODE, **metadata: object) -> Path:
    """A contest-style folder."""
    folder.mkdir(parents=True)
    (folder / "train_gpt.py").write_text(code)
    facts = {"name": folder.name, "author": "A", "github_id": "a", "val_bpb": 1.1, **metadata}
    (folder / "submission.json").write_text(json.dumps(facts))
    return folder


def linting() -> Settings:
    """The cheapest judgement: what folders claim."""
    loaded = rules.load()
    identity = {"ruleset": loaded.sha256, "rulings": loaded.rulings_sha256}
    return Settings(lint=(), places=("--ruleset", rules.DEFAULT), identity=identity)


def git(repository: Path, *words: str) -> str:
    """Run git there, as nobody in particular."""
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(repository), *who, *words], capture_output=True, text=True, check=True
    ).stdout


def items_of(parent: int | None = None) -> dict[int, int]:
    """Running items of batches, pid -> parent's pid; only children of `parent` if it is given."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            status = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if b"harness.batch.child" in words and status[0] != "Z" and parent in (None, int(status[1])):
            found[int(entry.name)] = int(status[1])
    return found


def is_alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pid: int, seconds: float = 60.0) -> bool:
    """Whether a process ends within that time."""
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)


def parent_of(pid: int) -> int:
    """The process that a running process comes from."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def command_of(pid: int) -> list[str]:
    """A process's command line."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")

"""Folders of boxes whose owner is gone: each has its owner's mark, and what nobody owns any more is swept."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import tempfile
import time
from pathlib import Path

PREFIX = "golf-box-"
MARK = "owner.json"
_swept: set[str] = set()  # places that this process has looked through


def make() -> Path:
    """A new folder for a box of this process, with the mark that it is this process's."""
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix=PREFIX)))
    (folder / MARK).write_text(json.dumps(_here() | {"pid": os.getpid(), "since": _since(os.getpid())}))
    return folder


def sweep() -> list[Path]:
    """Remove the folders of boxes whose owners are gone; once in a process for each place. Returns what was removed.

    Touched is only what this user made and what has a mark: of a process of this machine that has ended, or of one from
    before this machine was last started. Where that cannot be told (another machine or container that shares the place,
    no mark), the folder stays.
    """
    place = tempfile.gettempdir()
    if place in _swept:
        return []
    _swept.add(place)
    return [folder for folder in Path(place).glob(f"{PREFIX}*") if _is_orphan(folder) and remove(folder) is None]


def remove(folder: Path) -> str | None:
    """Remove what a box left, whatever modes and depths it made: shutil.rmtree gives up on both.

    Returns:
        Why it is still there; None if it is not.
    """
    for command in (["rm", "-rf"], ["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        done = subprocess.run([*command, "--", str(folder)], env={"PATH": os.defpath}, check=False, capture_output=True)
        if not folder.exists():
            return None
    return done.stderr.decode(errors="replace").strip()[-200:]


def _is_orphan(folder: Path) -> bool:
    try:
        facts = folder.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
            return False
        mark = _read(folder / MARK)
        here = _here()
        if mark["machine"] != here["machine"]:
            return False
        if mark["boot"] != here["boot"]:
            return facts.st_mtime < time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return bool(mark["space"] == here["space"] and mark["since"] != _since(mark["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _read(path: Path) -> dict[str, object]:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mark: dict[str, object] = json.loads(os.read(fd, 1000))
        return mark
    finally:
        os.close(fd)


def _here() -> dict[str, object]:
    """The machine, this start of it, and the PID namespace.

    Raises:
        OSError: there is no /proc.
    """
    return {
        "machine": os.uname().nodename,
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "space": os.readlink("/proc/self/ns/pid"),
    }


def _since(pid: object) -> int | None:
    """When a process was started, in the kernel's ticks; None if there is none of that number."""
    try:
        line = Path(f"/proc/{int(str(pid))}/stat").read_text(errors="replace")
    except FileNotFoundError:
        return None
    return int(line[line.rindex(")") + 2 :].split()[19])

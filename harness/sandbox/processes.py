"""The processes below one process, from /proc: what they use, and how to end them.

A box's first process adopts orphans, so a daemon that forked twice is still below it. Only /proc/PID/stat is read
for that, which the box cannot hide.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from dataclasses import dataclass
from pathlib import Path

# Windows has neither; there, this room is imported and never used.
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True)
class Process:
    """One process at one moment.

    Attributes:
        pid: in this process's PID namespace.
        depth: how many steps below the root of the search, from 1.
        group: its process group.
        state: the kernel's letter; Z and X are dead.
        cpu_seconds: user and system time so far, its own.
        reaped_seconds: the same of children that it has waited for, and of theirs.
        started: clock ticks from the machine's start to its own; with `pid` it names a process for good.
        rss_bytes: resident memory, shared pages included.
        threads: how many it has.
    """

    pid: int
    depth: int
    group: int
    state: str
    cpu_seconds: float
    rss_bytes: int
    threads: int = 1
    reaped_seconds: float = 0.0
    started: int = 0

    @property
    def alive(self) -> bool:
        """Whether it is more than an entry that waits to be reaped."""
        return self.state not in "ZX"


def below(root: int) -> list[Process]:
    """The descendants of process `root`, nearest first, dead ones included."""
    children: dict[int, list[tuple[int, list[str]]]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            line = Path("/proc", name, "stat").read_text(errors="replace")
        except OSError:
            continue  # it ended while we looked
        fields = line[line.rindex(")") + 2 :].split()  # the command name may hold spaces and brackets
        children.setdefault(int(fields[1]), []).append((int(name), fields))
    found = []
    level = [root]
    depth = 0
    while level:
        depth += 1
        entries = [entry for parent in level for entry in children.pop(parent, [])]
        for pid, fields in entries:
            user, system, reaped_user, reaped_system = (int(field) / TICK for field in fields[11:15])
            found.append(
                Process(
                    pid,
                    depth,
                    group=int(fields[2]),
                    state=fields[0],
                    cpu_seconds=user + system,
                    rss_bytes=int(fields[21]) * PAGE,
                    threads=int(fields[17]),
                    reaped_seconds=reaped_user + reaped_system,
                    started=int(fields[19]),
                )
            )
        level = [pid for pid, _ in entries]
    return found


def proportional_bytes(pid: int) -> int | None:
    """The process's share of resident memory (PSS): a page that n processes share counts 1/n.

    Returns:
        0 if it is gone, None if the kernel does not tell us.
    """
    try:
        lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    except ProcessLookupError:
        return 0
    except OSError:
        return None if Path("/proc", str(pid)).exists() else 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def unnamed_files(pid: int) -> dict[tuple[int, int], int]:
    """Bytes on disk of files without a name that a process holds open or maps, by device and inode.

    What was unlinked, was never linked or lives in memory only is in no folder, and takes room all the same.
    """
    found: dict[tuple[int, int], int] = {}
    try:
        opened = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found  # gone, or it is another user's by now
    for fd in opened:
        try:
            facts = os.stat(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 0:
            found[facts.st_dev, facts.st_ino] = facts.st_blocks * 512
    try:
        lines = Path(f"/proc/{pid}/maps").read_bytes().splitlines()
    except OSError:
        return found
    for line in lines:
        if not line.endswith(b" (deleted)"):
            continue
        span, _, _, device, inode, *_ = line.split()
        start, end = (int(part, 16) for part in span.split(b"-"))
        major, minor = (int(part, 16) for part in device.split(b":"))
        key = (os.makedev(major, minor), int(inode))
        if key in found:
            continue
        try:
            facts = os.stat(f"/proc/{pid}/map_files/{span.decode()}")  # as root only
            found[key] = facts.st_blocks * 512
        except OSError:
            found[key] = end - start
    return found


def end_all() -> None:
    """Kill and reap every descendant of the calling process, which must be one that adopts orphans.

    Whole process groups first: that is atomic, so what forks faster than we look cannot escape it.
    """
    own = os.getpgrp()
    while True:
        found = [process for process in below(os.getpid()) if process.alive]
        for group in {process.group for process in found} - {own, 0}:
            _signal(-group)
        for process in found:
            _signal(process.pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # gone, or (only without a sandbox) another user's by now

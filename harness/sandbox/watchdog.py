"""Looks at a running box every so often and says when it is over a limit."""

from __future__ import annotations

import os
import stat
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from harness.sandbox import processes
from harness.sandbox.meter import Meter
from harness.sandbox.outcome import Limits, State

INTERVAL = 0.05
_DUTY = 20  # after a look that cost t, the next is 20 t later: 5 % of a core
_SELDOM = 50  # the same where there is room: 2 %
_ROOM = 0.25  # of the memory
_LONGEST = 1.0
_DISK_EVERY = 0.5
_MOST_FILES = 50_000


class Watchdog:
    """Samples one box.

    Memory is resident memory. For a single process that is its RSS; for several it is the sum of their PSS, because
    forked copies share pages that a sum of RSS would count again and again. Files without a name (unlinked ones, and
    those in memory only) count as disk as long as a process has them open or mapped.

    Args:
        keeper: pid of the launcher that stays outside the box.
        keepers: how many of our own processes stand between: what is deeper is the box.
        limits: what it may use.
        folders: where it may write.
    """

    def __init__(self, keeper: int, keepers: int, limits: Limits, folders: tuple[Path, ...]) -> None:
        self._keeper = keeper
        self._keepers = keepers
        self._limits = limits
        self._folders = folders
        self._started = time.monotonic()
        self._next_disk = self._started + _DISK_EVERY
        self._next_memory = self._started
        self._meter = Meter(keepers)
        self._found: list[processes.Process] = []
        self._aside = ThreadPoolExecutor(1, "box watchdog's scales")
        self._weighing: Future[tuple[State, str] | None] | None = None
        self.pause = INTERVAL
        self.max_rss_bytes = 0
        self.peak_processes = 0

    @property
    def wall_seconds(self) -> float:
        """Since the box was started."""
        return time.monotonic() - self._started

    @property
    def cpu_seconds(self) -> float:
        """Of all processes, those that have ended included, up to the last look."""
        return self._meter.seconds

    def look(self) -> tuple[State, str] | None:
        """Take one sample; a state and a line for people if a limit is broken. Sets `pause` until the next look.

        Time and the number of processes are seen on the spot, because a fork bomb grows between two looks. Memory
        and disk are weighed on the side: to read the pages of a process that keeps forking can take minutes.
        """
        begin = time.thread_time()
        broken = self._processes(time.monotonic())
        self.pause = min(max(INTERVAL, _DUTY * (time.thread_time() - begin)), _LONGEST)
        if broken:
            return broken
        if self._weighing is None:
            self._weighing = self._aside.submit(self._space, self._found)
        elif self._weighing.done():
            broken, self._weighing = self._weighing.result(), None
        return broken

    def close(self) -> None:
        """Take no more samples."""
        self._aside.shutdown(wait=False)

    def _processes(self, now: float) -> tuple[State, str] | None:
        limits = self._limits
        found = processes.below(self._keeper)
        self._found = self._inside(found)
        if self._meter.look(found) > limits.cpu_seconds:
            # One that is reaped while we look can be seen twice, in itself and in whoever reaped it: look again.
            if self._meter.look(processes.below(self._keeper)) > limits.cpu_seconds:
                return "TO", f"it used more than {limits.cpu_seconds:g} CPU seconds (--timeout raises this limit)"
        if now - self._started > limits.backstop:
            return "TO", (
                f"still running after {limits.backstop:g} s by the clock, with {self.cpu_seconds:.0f} of "
                f"{limits.cpu_seconds:g} CPU seconds used: it waits, or the machine is far too busy (--timeout raises "
                "both limits)"
            )
        self.peak_processes = max(self.peak_processes, len(self._found))
        if len(self._found) > limits.processes:
            return "PL", f"it had {len(self._found)} processes at once; the limit is {limits.processes}, which is fixed"
        threads = sum(process.threads for process in self._found)
        if threads > limits.threads:
            return "PL", f"it had {threads} threads at once; the limit is {limits.threads}, which is fixed"
        return None

    def _space(self, found: list[processes.Process]) -> tuple[State, str] | None:
        limits = self._limits
        now = time.monotonic()
        if now >= self._next_memory:
            begin = time.thread_time()
            memory = _memory(found)
            if memory > limits.memory_bytes and len(found) > 1:
                # Forks that end while we add up pass their share to those that we look at next: look again.
                memory = min(memory, _memory(self._inside(processes.below(self._keeper))))
            duty = _SELDOM if memory < _ROOM * limits.memory_bytes else _DUTY
            self._next_memory = now + duty * (time.thread_time() - begin)
            self.max_rss_bytes = max(self.max_rss_bytes, memory)
            if memory > limits.memory_bytes:
                used = f"it used {memory / 2**20:.0f} MiB of memory"
                limit = f"the limit is {limits.memory_bytes / 2**20:.0f} MiB (--memory raises this limit)"
                return "ML", f"{used}; {limit}"
        if now >= self._next_disk:
            begin = time.thread_time()
            used_bytes = _disk(self._folders, limits.file_bytes) + _unnamed(found)
            self._next_disk = now + min(max(_DISK_EVERY, _SELDOM * (time.thread_time() - begin)), _LONGEST)
            if used_bytes > limits.file_bytes:
                most = limits.file_bytes / 2**20
                return "OL", f"it wrote more than {most:.0f} MiB of files, or too many of them; this limit is fixed"
        return None

    def _inside(self, found: list[processes.Process]) -> list[processes.Process]:
        return [process for process in found if process.depth > self._keepers and process.alive]


def _memory(found: list[processes.Process]) -> int:
    resident = sum(process.rss_bytes for process in found)
    if len(found) < 2:
        return resident
    shares = [processes.proportional_bytes(process.pid) for process in found]
    known = sum(share for share in shares if share is not None)
    unknown = sum(process.rss_bytes for process, share in zip(found, shares, strict=True) if share is None)
    return min(resident, known + unknown)


def _unnamed(found: list[processes.Process]) -> int:
    files: dict[tuple[int, int], int] = {}
    for process in found:
        files |= processes.unnamed_files(process.pid)
    return sum(files.values())


def _disk(folders: tuple[Path, ...], enough: int) -> int:
    """Bytes on disk below the folders; more than `enough` also when there are too many files or too deep ones."""
    total = 0
    files = 0
    pending = [str(folder) for folder in folders]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    total += status.st_blocks * 512
                    files += 1
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(entry.path)
                    if total > enough or files > _MOST_FILES or len(entry.path) > 3000:
                        return enough + 1
        except OSError:
            continue  # removed while we looked
    return total

"""A box: one Python process, and what it forks, in the strongest sandbox that this machine offers.

Levels, in the order in which "auto" tries them:

* bubblewrap: namespaces by `bwrap`, where it is installed and works;
* native: the same from here (user, mount, PID, network, IPC, UTS and cgroup namespaces, a root of its own);
* landlock: for machines that allow no user namespaces, such as most containers: rules on files and signals, and
  a seccomp filter that leaves no sockets;
* none: on request only: limits and cleaning up, no isolation.

The first two add Landlock and seccomp where the kernel has them, and the first three give up capabilities and the
way to new ones. At every level the environment is scrubbed, a watchdog enforces the limits, and leaving the context
kills everything that came from the box, daemons included.

What is not covered: side channels (timing, caches, futexes on files that all may read), kernel bugs, a GPU's memory,
and, at the landlock level, dates that the kernel itself renews when a file is read. The user id does not change.
SECURITY.md says what each level holds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import SandboxError
from harness.files import UNREAD
from harness.sandbox import leftovers
from harness.sandbox.keeper import Keeper
from harness.sandbox.linux import need_linux
from harness.sandbox.outcome import Exit, Level, Limits, Sandbox
from harness.sandbox.plan import Plan
from harness.sandbox.view import stage, view
from harness.sandbox.warm import Warmed, forget, warmed
from harness.sandbox.wire import Wire

__all__ = ["LEVELS", "Box", "Exit", "Level", "Limits", "Sandbox"]

LEVELS: tuple[Sandbox, ...] = ("bubblewrap", "native", "landlock")
_LOG = logging.getLogger(__name__)
_best: list[Sandbox] = []  # what worked last time in this process: the levels above it need not be tried again


class Box:
    """Starts the process on entering, ends all of it on leaving.

    Args:
        module: imported in the box; its `main(wire, args)` runs there and may return an exit code. An empty
            name only builds the box.
        read: files and folders that the box may read, at the paths that they have outside.
        limits: what it may use.
        log: file for its stdout and stderr, replaced if it exists.
        args: strings for `main`.
        env: variables beyond PATH, HOME, TMPDIR, LANG and those that fix threads and hashing.
        path: further folders for `sys.path` in the box; readable without being named in `read`.
        sandbox: which level; "auto" takes the best that works here, anything else that one or none at all.
        threads: for OpenMP, MKL and OpenBLAS.
        warm: modules that a process which runs nothing of a submission imports once; the box is a fork of it, where the
            level and the number of threads (one) allow that.

    Attributes:
        scratch: the only folder that the box may write; its working folder, HOME and TMPDIR. Removed on leaving.
        level: what is enforced.
    """

    scratch: Path
    level: Level

    def __init__(
        self,
        module: str,
        *,
        read: Sequence[Path],
        limits: Limits,
        log: Path,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        path: Sequence[Path] = (),
        sandbox: Sandbox = "auto",
        threads: int = 1,
        warm: Sequence[str] = (),
    ) -> None:
        self._module = module
        self._read = [*read, *path]
        self._path = [os.path.abspath(folder) for folder in path]
        self._limits = limits
        self._log = log
        self._args = list(args)
        self._env = dict(env or {})
        self._sandbox = sandbox
        self._threads = threads
        self._warm = tuple(warm) if threads == 1 else ()
        self._keeper: Keeper | None = None
        self._folder: Path | None = None

    def __enter__(self) -> Box:
        """Start.

        Raises:
            SandboxError: something in `read` is missing, or no level works here.
        """
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._keeper is not None:
            self._keeper.close()
            if ended := self._keeper.exit:
                _LOG.info(
                    "%s: process %d: %s; %.1f CPU seconds, %.1f by the clock, %d MiB at most", self._module,
                    self._keeper.pid, ended.message, ended.cpu_seconds, ended.wall_seconds, ended.max_rss_bytes >> 20,
                )  # fmt: skip
        if self._folder is not None and (why := leftovers.remove(self._folder)) is not None:
            raise SandboxError(f"cannot remove the box's folder {self._folder}: {why}")

    @property
    def wire(self) -> Wire:
        """Our end of the wire."""
        return self._running.wire

    @property
    def pid(self) -> int:
        """The process outside the box below which all of the box's processes are."""
        return self._running.pid

    @property
    def exit(self) -> Exit | None:
        """How the box ended; None while it runs."""
        return self._running.exit

    @property
    def condemned(self) -> bool:
        """Whether the box is being ended for what it did, or was; `wait` says how soon."""
        return self._running.condemned

    def kill(self) -> Exit:
        """End every process of the box, now; returns when they are dead. Does nothing to a box that has ended."""
        self._running.condemn("KL", "killed by the harness")
        return self.wait()

    def wait(self, timeout: float | None = None) -> Exit:
        """Wait for the box to end by itself or by the watchdog; `timeout` in seconds.

        Raises:
            TimeoutError: it is still running after that time.
        """
        if not self._running.wait(timeout):
            raise TimeoutError(f"the box is still running after {timeout:g} s")
        assert self._running.exit is not None
        return self._running.exit

    def printed(self, most: int = 1 << 16) -> str:
        """The end of what the box has printed into its log, at most `most` bytes of it; "" without one."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - most))
                return file.read(most).decode("utf-8", "replace")
        except OSError:
            return ""

    @property
    def _running(self) -> Keeper:
        if self._keeper is None:
            raise RuntimeError("the box has not been started: use it as a context manager")
        return self._keeper

    def _start(self) -> None:
        need_linux()
        leftovers.sweep()
        self._folder = folder = leftovers.make()
        for name in ("scratch", "shm", "root"):
            (folder / name).mkdir()
        self.scratch = folder / "scratch"
        source = warmed(sys.executable, self._environment(), self._warm) if self._warm else None
        code = folder / "code"
        if source is not None:
            code = source.folder / "code"
        else:
            stage(code)
        for place in self._read:
            _hide_reading(place)
        shown = view([code, *self._read])
        plan = Plan(
            level="",
            python=sys.executable,
            code=str(code),
            module=self._module,
            args=self._args,
            path=self._path,
            read=shown.read,
            links=shown.links,
            devices=shown.devices,
            hide=shown.hide,
            scratch=str(self.scratch),
            shm=str(folder / "shm"),
            root=str(folder / "root"),
            memory_bytes=self._limits.memory_bytes,
            file_bytes=self._limits.file_bytes,
            bwrap=shutil.which("bwrap") or "",
        )
        reasons = []
        for name in (tuple(_best) or LEVELS) if self._sandbox == "auto" else (self._sandbox,):
            try:
                self._launch(name, plan, source)
            except SandboxError as error:
                reasons.append(f"{name}: {error}")
                continue
            if self._sandbox == "auto":
                _best[:] = [name]
            return
        raise SandboxError(f"no sandbox works here ({'; '.join(reasons)}); --no-sandbox runs without isolation")

    def _launch(self, name: Sandbox, plan: Plan, source: Warmed | None) -> None:
        if name == "bubblewrap" and not plan.bwrap:
            raise SandboxError("bwrap is not installed")
        if name == "bubblewrap":
            source = None
        try:
            keeper = Keeper(plan.at(name), self._limits, self._environment(), self._log, source)
        except SandboxError:
            if source is None or not source.gone:
                raise
            forget(source)
            keeper = Keeper(plan.at(name), self._limits, self._environment(), self._log)
        self._keeper = keeper
        self.level = _level(name, keeper.ready)
        _LOG.info("%s: started at level %s, process %d, prints into %s", self._module, name, keeper.pid, self._log)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.scratch),
            "TMPDIR": str(self.scratch),
            "LANG": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(self._threads)),
            **self._env,
        }


def _level(name: Sandbox, ready: Mapping[str, int]) -> Level:
    if name == "none":
        return Level(name, False, False, False, False, "no isolation; limits and cleaning up only")
    extra = [f"Landlock {ready['landlock']}" if ready["landlock"] else "no Landlock"]
    extra.append("seccomp" if ready["seccomp"] else "no seccomp")
    if name == "landlock":
        signals = ready["landlock"] >= 6
        note = f"{' and '.join(extra)}, without namespaces" + ("" if signals else "; can signal the user's processes")
        return Level(name, True, True, signals, True, note)
    return Level(name, True, True, True, True, f"namespaces, {', '.join(extra)}")


def _hide_reading(place: Path) -> None:
    """Give a file that boxes are shown one after another a date of access that reading it does not renew.

    Mounts that are read-only keep it as it is anyway; where the machine's own files are shown it would tell a box
    whether another has read the file.
    """
    with contextlib.suppress(OSError):  # another user's
        facts = place.lstat()
        if stat.S_ISREG(facts.st_mode):
            os.utime(place, ns=(UNREAD * 10**9, facts.st_mtime_ns))

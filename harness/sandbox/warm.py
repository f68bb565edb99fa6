"""A process that has imported what the boxes of one kind need, and of which each such box is a fork.

To import torch takes longer than most tiny runs. The warmed process is started with the environment of the boxes, from
the code that is staged for them; it imports that code and nothing else, has one thread, and never runs anything of a
submission. Each fork builds its own box and runs the module in it, as a fresh interpreter would; it knows of no other.
Bubblewrap starts a program of its own, so boxes of that level are always started fresh.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

_MOST = 1 << 18  # bytes of one request
_OWN = ("HOME", "TMPDIR")  # variables that each box has for itself

#: What a process has warmed, by environment and modules; None where it could not be.
_warmed: dict[tuple[str, ...], Warmed | None] = {}
_folders: list[Path] = []  # theirs, until this process ends
_lock = threading.Lock()


class Fork:
    """The keeper of one box: a fork of the warmed process. It has of `subprocess.Popen` what a keeper's owner uses."""

    def __init__(self, pid: int, stdout: IO[bytes]) -> None:
        self.pid = pid
        self.stdout = stdout
        self._fd = os.pidfd_open(pid)

    def wait(self, timeout: float | None = None) -> None:
        """Until it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not.
        """
        if self._fd >= 0 and not select.select([self._fd], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("box", timeout or 0.0)
        self._close()

    def kill(self) -> None:
        """End it."""
        if self._fd >= 0:
            signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Warmed:
    """The warmed process, as its owner sees it.

    Args:
        python: the interpreter.
        folder: of its own; `code` in it is where the package is staged.
        env: of the boxes, without what each has for itself.
        modules: what it imports.

    Attributes:
        folder: as given; code: where the package is staged.
        cpu_seconds: what it took to get warm.
        gone: whether it turned out to have ended.

    Raises:
        OSError: it cannot be started, or did not get ready.
    """

    def __init__(self, python: str, folder: Path, env: Mapping[str, str], modules: Sequence[str]) -> None:
        self.folder = folder
        self.code = str(folder / "code")
        self.gone = False
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        script = os.path.join(self.code, "harness", "sandbox", "warm.py")
        with theirs:
            self._process = subprocess.Popen(
                [python, "-s", "-P", "-B", script, str(theirs.fileno()), *modules],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={**env, "HOME": "/", "TMPDIR": "/"},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        ready = self._control.recv(_MOST)
        if not ready:
            self.close()
            raise OSError(None, "the warmed process did not get ready")
        self.cpu_seconds = float(ready)

    def fork(self, plan: str, fds: Sequence[int], env: Mapping[str, str]) -> Fork:
        """Start a box.

        Args:
            plan: a `Plan` as JSON.
            fds: its wire, status and lifeline.
            env: the box's whole environment.

        Raises:
            OSError: it is gone.
        """
        ours, theirs = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._control, [json.dumps([plan, dict(env)]).encode()], [*fds, theirs])
                pid = int(self._control.recv(_MOST) or 0)
            if not pid:
                raise ConnectionResetError(None, "the warmed process has ended")
            return Fork(pid, os.fdopen(ours, "rb"))
        except BaseException as error:
            self.gone |= isinstance(error, ConnectionError)
            os.close(ours)
            raise
        finally:
            os.close(theirs)

    def close(self) -> None:
        """End it; boxes that were forked go on."""
        self._control.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def warmed(python: str, env: Mapping[str, str], modules: Sequence[str]) -> Warmed | None:
    """This process's warmed process for boxes of this kind, started when it is first asked for.

    Returns:
        None where there can be none; boxes are started fresh then.
    """
    from harness.sandbox import leftovers
    from harness.sandbox.view import stage

    if not hasattr(os, "pidfd_open"):
        return None
    shared = {name: value for name, value in env.items() if name not in _OWN}
    key = (python, json.dumps(shared, sort_keys=True), *modules)
    with _lock:
        if key not in _warmed:
            folder = leftovers.make()
            _folders.append(folder)
            try:
                stage(folder / "code")
                _warmed[key] = Warmed(python, folder, shared, modules)
            except OSError:
                _warmed[key] = None
        return _warmed[key]


def spent() -> float:
    """CPU seconds that it took to warm what this process has warmed."""
    return sum(one.cpu_seconds for one in _warmed.values() if one is not None)


def forget(one: Warmed) -> None:
    """Take it for gone: boxes of its kind are started fresh from now on, from the code that is staged in its folder."""
    with _lock:
        for key in [key for key, known in _warmed.items() if known is one]:
            _warmed[key] = None
    one.close()


@atexit.register
def _clear() -> None:
    from harness.sandbox import leftovers

    for one in _warmed.values():
        if one is not None:
            one.close()
    for folder in _folders:
        leftovers.remove(folder)


# A fork of this process is not the owner: it warms one of its own.
os.register_at_fork(after_in_child=_warmed.clear)
os.register_at_fork(after_in_child=_folders.clear)


def main() -> None:
    """`warm.py FD MODULE...`: get warm, then fork a keeper for each request, until the owner is gone."""
    code = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path.insert(0, code)
    from harness.sandbox import launcher  # noqa: F401  # with all that it needs; it puts the code's folder first, too

    sys.path[:] = dict.fromkeys(sys.path)
    control = socket.socket(fileno=int(sys.argv[1]))
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    if len(os.listdir("/proc/self/task")) != 1:
        sys.exit(1)  # a fork has one thread, and what the others were doing would be missing from it
    control.send(str(time.process_time()).encode())
    while True:
        text, fds, _, _ = socket.recv_fds(control, _MOST, 4)
        if not text:
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            _keep(text, fds)
        for fd in fds:
            os.close(fd)
        control.send(str(pid).encode())
        while True:  # those that have ended by now
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break


def _keep(text: bytes, fds: list[int]) -> None:
    """In the fork: what a fresh launcher would be started with, then what it does. Never returns."""
    from harness.sandbox import launcher
    from harness.sandbox.plan import Plan
    from harness.sandbox.report import reason, report

    plan = replace(Plan.loads(json.loads(text)[0]), wire=fds[0], status=fds[1], lifeline=fds[2])
    try:
        os.setsid()
        os.dup2(fds[3], 1)
        os.dup2(fds[3], 2)
        os.close(fds[3])
        os.chdir(plan.scratch)
        os.environ.clear()
        os.environ.update(json.loads(text)[1])
        if "tempfile" in sys.modules:
            sys.modules["tempfile"].tempdir = None  # type: ignore[attr-defined]
        launcher.keep(plan, warm=True)
    except BaseException as error:
        report(plan.status, fault=reason(error))
        os._exit(launcher.FAULT)
    os._exit(0)


if __name__ == "__main__":
    main()

"""The parent's side of one running box: starts the launcher, hears how start-up went, watches, and ends it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import SandboxError
from harness.sandbox import processes
from harness.sandbox.outcome import Exit, Limits, State
from harness.sandbox.output import Output
from harness.sandbox.plan import OUT_OF_MEMORY, Plan
from harness.sandbox.warm import Fork, Warmed
from harness.sandbox.watchdog import Watchdog
from harness.sandbox.wire import pair

_START_SECONDS = 300.0  # a busy machine is no reason to try another sandbox
_END_SECONDS = 20.0


class Keeper:
    """One box, from start to end.

    Args:
        plan: what to build; its descriptors are filled in here.
        limits: what the box may use.
        env: the whole environment.
        log: file for what it prints.
        warmed: the process that it is to be a fork of; None starts it fresh.

    Attributes:
        wire: our end of the wire.
        pid: of the launcher process that stays outside the box.
        ready: what start-up says is enforced.
        exit: how it ended, None while it runs.

    Raises:
        SandboxError: the box could not be built this way; the reason in one line. Nothing is left of it.
    """

    def __init__(
        self, plan: Plan, limits: Limits, env: Mapping[str, str], log: Path, warmed: Warmed | None = None
    ) -> None:
        self.exit: Exit | None = None
        self._limits = limits
        self._process: subprocess.Popen[bytes] | Fork
        self._ended = threading.Event()
        self._verdict: tuple[State, str] | None = None
        self._lock = threading.Lock()
        self.wire, theirs = pair()
        self._status, status = os.pipe()
        lifeline, end = os.pipe()
        self._lifeline: int | None = end
        plan = replace(plan, wire=theirs.fileno(), status=status, lifeline=lifeline)
        fds = (plan.wire, plan.status, plan.lifeline)
        try:
            self._process = warmed.fork(plan.dumps(), fds, env) if warmed else _fresh(plan, fds, env)
        except OSError as error:
            self._hang_up()
            os.close(self._status)
            self.wire.close()
            raise SandboxError(f"cannot start {plan.python}: {error.strerror}") from error
        finally:
            theirs.close()
            os.close(status)
            os.close(lifeline)
        self.pid = self._process.pid
        keepers = 2 if plan.level == "bubblewrap" else 1
        self._watchdog = Watchdog(self.pid, keepers, limits, (Path(plan.scratch), Path(plan.shm)))
        assert self._process.stdout is not None
        self._output: Output | None = None
        try:
            self._output = Output(self._process.stdout, log, limits.output_bytes)
            self.ready, self._heard = self._hear()
        except BaseException:
            self._hang_up()
            self._reap()
            if self._output:
                self._output.join()
            os.close(self._status)
            self.wire.close()
            raise
        self._thread = threading.Thread(target=self._watch, name="box watchdog")
        self._thread.start()

    def condemn(self, state: State, message: str) -> None:
        """Have the box ended, for this reason if there is none yet; does not wait."""
        with self._lock:
            if self._verdict is None and not self._ended.is_set():
                self._verdict = (state, message)
        self._hang_up()

    @property
    def condemned(self) -> bool:
        """Whether it is being ended, or was: by the watchdog or by us."""
        return self._verdict is not None

    def wait(self, timeout: float | None) -> bool:
        """Whether the box ended, with all that came from it, within `timeout` seconds."""
        return self._ended.wait(timeout)

    def close(self) -> None:
        """End the box if it runs; return when everything of it is dead and its log complete."""
        self.condemn("KL", "killed by the harness")
        self._thread.join()
        if self._output:
            self._output.join()
        self.wire.close()

    def _hang_up(self) -> None:
        with self._lock:
            if self._lifeline is not None:
                os.close(self._lifeline)
                self._lifeline = None

    def _hear(self) -> tuple[dict[str, int], bytes]:
        """Start-up's first report, and what came after it.

        Raises:
            SandboxError: it is a fault, or there is none in time.
        """
        assert self._output is not None
        heard = b""
        deadline = time.monotonic() + _START_SECONDS
        while b"\n" not in heard:
            if not select.select([self._status], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise SandboxError(f"start-up took longer than {_START_SECONDS:g} s")
            chunk = os.read(self._status, 4096)
            if not chunk:
                self._reap()
                self._output.join()
                raise SandboxError(self._output.last_line() or "start-up ended without a word")
            heard += chunk
        line, rest = heard.split(b"\n", 1)
        said: dict[str, Any] = json.loads(line)
        if "fault" in said:
            raise SandboxError(str(said["fault"]))
        return said["ready"], rest

    def _watch(self) -> None:
        try:
            while self._wait_for_status(self._watchdog.pause):
                if broken := self._watchdog.look():
                    self.condemn(*broken)
                    break
        finally:
            self._watchdog.close()
            self._hang_up()
            self._reap()
            self._listen()
            os.close(self._status)
            with self._lock:
                self.exit = self._outcome()
                self._ended.set()

    def _wait_for_status(self, seconds: float) -> bool:
        """Wait a while; False once the box's first process is gone or somebody has condemned the box."""
        poller = select.poll()
        poller.register(self._status, select.POLLIN)
        if poller.poll(seconds * 1000):
            chunk = os.read(self._status, 4096)
            self._heard += chunk
            return bool(chunk)
        return self._lifeline is not None

    def _listen(self) -> None:
        while select.select([self._status], [], [], 0)[0] and (chunk := os.read(self._status, 4096)):
            self._heard += chunk

    def _reap(self) -> None:
        """Wait for the launcher, which ends everything below it first; do it ourselves if it cannot."""
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            for process in processes.below(self.pid):
                try:
                    os.kill(process.pid, signal.SIGKILL)
                except OSError:
                    pass
            self._process.kill()
            self._process.wait()

    def _outcome(self) -> Exit:
        watchdog = self._watchdog
        reports = [json.loads(line) for line in self._heard.splitlines()]
        said: dict[str, Any] = next((report for report in reports if "ended" in report), {})
        fault = next((report["fault"] for report in reports if "fault" in report), None)
        code = os.waitstatus_to_exitcode(said["ended"]) if said else None
        died_by = -code if code is not None and code < 0 else None
        state, message = self._state(code, fault)
        return Exit(
            state=state,
            code=code if died_by is None else None,
            signal=died_by,
            max_rss_bytes=max(watchdog.max_rss_bytes, said.get("max_rss_bytes", 0)),
            peak_processes=max(watchdog.peak_processes, 1),
            cpu_seconds=max(watchdog.cpu_seconds, said.get("cpu_seconds", 0.0)),
            wall_seconds=watchdog.wall_seconds,
            message=message,
        )

    def _state(self, code: int | None, fault: str | None) -> tuple[State, str]:
        """A process that ended by itself did so whatever we decided a moment later."""
        assert self._output is not None
        if fault is not None:
            return "XX", fault
        if code is None:
            return self._verdict or ("XX", "the box vanished; the machine may be out of memory")
        if code == 0:
            return "ok", "ended normally"
        if code == OUT_OF_MEMORY:
            limit = self._limits.memory_bytes / 2**20
            return "ML", f"a memory allocation failed; the limit is {limit:.0f} MiB (--memory raises this limit)"
        if code < 0:
            return "SG", f"ended by {signal.Signals(-code).name}"
        self._output.join()
        return "RE", f"exited with code {code}: {self._output.last_line()}".rstrip(": ")


def _fresh(plan: Plan, fds: tuple[int, ...], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    launcher = os.path.join(plan.code, "harness", "sandbox", "launcher.py")
    return subprocess.Popen(
        [plan.python, "-I", "-S", "-B", launcher, "keep", plan.dumps()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=plan.scratch,
        env=dict(env),
        pass_fds=fds,
        start_new_session=True,  # Ctrl-C at the terminal reaches us, and we end the box
    )

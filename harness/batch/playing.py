"""One task in a process of its own: started, looked at, and ended with all that belongs to it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from harness.batch.children import environment, python
from harness.batch.tasks import Task

#: What the process printed, in the folder of the result.
SAID = "said.txt"

_STALE = ("item.json", "record.json", "report.html", SAID)
_GRACE = 10.0  # seconds from asking to killing
_LAST = 4096  # bytes of output that are looked at for the last line


@dataclass(frozen=True)
class Ended:
    """How a task's process ended.

    Attributes:
        code: its exit code, negative for a signal; None where it was stopped for its time or never came back.
        seconds: how long it took.
        said: the last line that it printed, or why it never came back.
        timed_out: it was stopped for its time.
    """

    code: int | None
    seconds: float
    said: str = ""
    timed_out: bool = False


class Playing:
    """A task that is being played; leaving the context ends it.

    Args:
        task: what to play.
        here: the submission, on this machine.
        there: the folder for its results, on this machine.
    """

    def __init__(self, task: Task, here: Path, there: Path) -> None:
        self.task = task
        self._log = there / SAID
        self._started = time.monotonic()
        there.mkdir(parents=True, exist_ok=True)
        for name in _STALE:
            (there / name).unlink(missing_ok=True)
        words = python("-m", "harness.batch.child", str(os.getpid()), *task.arguments(here, there))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(),
                start_new_session=True,
            )

    def __enter__(self) -> Playing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def poll(self) -> Ended | None:
        """How it ended; None while it runs. One that has run for too long is ended here."""
        seconds = time.monotonic() - self._started
        code = self._process.poll()
        if code is not None:
            return Ended(code, seconds, _last_line(self._log))
        if self.task.seconds is not None and seconds > self.task.seconds:
            self.end()
            return Ended(None, seconds, f"still running after {self.task.seconds:g} s", timed_out=True)
        return None

    def interrupt(self) -> None:
        """Ask it to stop, as Ctrl-C would."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Ask it to stop, and kill it if it does not; boxes end with it."""
        self.interrupt()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LAST))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")

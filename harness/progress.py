"""What a long command is doing, on stderr: a live bar on a terminal, plain lines in a log, JSON lines for a program.

stdout is left to results.
"""

from __future__ import annotations

import json as jsonlib
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from harness.text import plain

#: Seconds between two lines of one phase in a log, and of silence before a line says that the phase is still alive.
EVERY = 3.0
HEARTBEAT = 5.0


class Progress:
    """Reports phases that follow one another; safe to call from several threads.

    with Progress() as progress:
        progress.phase("train", "training 700 steps")
        progress.update(100, 700, note="loss 2.91")
        progress.done("loss 2.31")

    Starting a phase ends the one before it. Outside any phase `update` does nothing and `note` prints the note alone.
    """

    def __init__(
        self,
        quiet: bool = False,
        json: bool = False,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares to report; nothing is printed before the first phase or note.

        Args:
            quiet: print nothing at all.
            json: print one JSON object a line, with the fields event, phase, text, done, total and seconds.
            stream: where to print; stderr unless given.
            clock: seconds, for tests.
        """
        self._stream = stream or sys.stderr
        self._clock = clock
        self._quiet = quiet
        self._json = json
        console = Console(file=self._stream)
        live = console.is_terminal and not quiet and not json
        self._bar = _bar(console) if live else None
        self._task: TaskID | None = None
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._phase: str | None = None
        self._started = self._printed = 0.0
        self._last: tuple[float, float | None, str] | None = None

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        elif not self._quiet:
            self._thread = threading.Thread(target=self._beat, name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._end("done" if kind is None else "stopped", "")
        if self._bar:
            self._bar.stop()

    def phase(self, name: str, text: str = "") -> None:
        """Starts a phase called `name`; `text` says what it does."""
        with self._lock:
            self._end("done", "")
            self._phase, self._started, self._last = name, self._clock(), None
            self._say("start", text or "started")
            if self._bar:
                self._task = self._bar.add_task(plain(f"{name}: {text}" if text else name, 60), total=None, note="")

    def update(self, done: float, total: float | None = None, note: str = "") -> None:
        """Says how far the phase is: `done` of `total` units (None: unknown), and anything worth reading beside it."""
        with self._lock:
            if self._phase is None:
                return
            self._last = (done, total, note)
            if self._bar and self._task is not None:
                self._bar.update(self._task, completed=done, total=total, note=plain(note, 40))
            elif self._clock() - self._printed >= EVERY:
                self._say("update", note)

    def note(self, text: str) -> None:
        """Prints a line at once."""
        with self._lock:
            self._say("note", text)

    def done(self, text: str = "") -> None:
        """Ends the phase; `text` says what came out of it."""
        with self._lock:
            self._end("done", text)

    def heartbeat(self) -> None:
        """Prints that the phase is still running, if nothing was printed for a while; called every second."""
        with self._lock:
            if self._phase is not None and self._clock() - self._printed >= HEARTBEAT:
                self._say("alive", "still running")

    def _beat(self) -> None:
        while not self._stop.wait(1.0):
            self.heartbeat()

    def _end(self, event: str, text: str) -> None:
        with self._lock:
            if self._phase is None:
                return
            if self._bar and self._task is not None:
                self._bar.remove_task(self._task)
                self._task = None
            if event == "done" and not text and self._last:
                text = self._last[2]
            self._say(event, text)
            self._phase = None

    def _say(self, event: str, text: str) -> None:
        """Prints one line: what happened, how far, and how long the phase has been running."""
        if self._quiet:
            return
        now = self._clock()
        self._printed = now
        seconds = now - self._started if self._phase is not None else None
        done, total, _ = self._last or (None, None, "")
        if self._json:
            fields = {"event": event, "phase": self._phase, "text": text, "done": done, "total": total}
            line = jsonlib.dumps({**fields, "seconds": None if seconds is None else round(seconds, 3)})
        else:
            line = _line(event, self._phase, plain(text), done, total, seconds)
        try:
            if self._bar:
                self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                print(line, file=self._stream, flush=True)
        except OSError:
            self._quiet = True  # nobody reads stderr any more; that is no reason to end the run


def _line(
    event: str, phase: str | None, text: str, done: float | None, total: float | None, seconds: float | None
) -> str:
    if phase is None or seconds is None:
        return text
    head = plain(phase, 40)
    if event in ("start", "note"):
        return f"{head}: {text}"
    parts = []
    if event in ("done", "stopped"):
        parts.append(event)
    elif done is not None:
        parts.append(f"{done:,.6g}" + (f"/{total:,.6g} ({done / total:.0%})" if total else ""))
    if text:
        parts.append(text)
    return f"{head}: {', '.join([*parts, f'{seconds:.1f} s'])}"


def _bar(console: Console) -> Bar:
    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # results stay on stdout
        refresh_per_second=8,
    )

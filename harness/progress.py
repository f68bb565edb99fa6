"""What a long command is doing, on stderr: a live bar on a terminal, plain lines in a log, JSON lines for a program.

stdout is left to results.
"""

from __future__ import annotations

import json as jsonlib
import logging
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

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
    Where the phases are known beforehand (`plan`), a phase says which of how many it is.
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
            json: print one JSON object a line, with the fields event, phase, step, steps, text, done, total, seconds
                and left (seconds, estimated).
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
        self._plan: tuple[str, ...] = ()

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

    def plan(self, *names: str) -> None:
        """Names the phases to come, in their order: each says "2/5". One may be left out, or come several times."""
        with self._lock:
            self._plan = names

    def phase(self, name: str, text: str = "") -> None:
        """Starts a phase called `name`; `text` says what it does."""
        with self._lock:
            self._end("done", "")
            self._phase, self._started, self._last = name, self._clock(), None
            self._say("start", text or "started")
            if self._bar:
                said = plain(f"{self._head()}: {text}" if text else self._head(), 60)
                self._task = self._bar.add_task(said, total=None, note="")

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

    def _head(self) -> str:
        name = self._phase or ""
        return f"{self._plan.index(name) + 1}/{len(self._plan)} {name}" if name in self._plan else name

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
        left = None if event in ("done", "stopped") else _left(done, total, seconds)
        if self._json:
            step = self._plan.index(self._phase) + 1 if self._phase in self._plan else None
            fields = {
                "event": event, "phase": self._phase, "step": step, "steps": len(self._plan) if step else None,
                "text": text, "done": done, "total": total, "seconds": None if seconds is None else round(seconds, 3),
                "left": None if left is None else round(left, 3),
            }  # fmt: skip
            line = jsonlib.dumps(fields)
        else:
            line = _line(event, self._head() or None, plain(text), done, total, seconds, left)
        try:
            if self._bar:
                self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                print(line, file=self._stream, flush=True)
        except OSError:
            self._quiet = True  # nobody reads stderr any more; that is no reason to end the run


class _Stderr(logging.Handler):
    """Lines on whatever stderr is at the moment: a live bar takes its place while it runs."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(plain(self.format(record), 500), file=sys.stderr, flush=True)
        except OSError:
            pass  # nobody reads stderr any more


def narrate(level: int) -> None:
    """Have the house say what it does on stderr: 1 every box and how it ended, 2 every question to git as well."""
    house = logging.getLogger("harness")
    if not any(isinstance(handler, _Stderr) for handler in house.handlers):
        handler = _Stderr()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
        house.addHandler(handler)
    house.setLevel(logging.DEBUG if level > 1 else logging.INFO)


def _left(done: float | None, total: float | None, seconds: float | None) -> float | None:
    """Seconds until `total`, if the rest goes as what was done."""
    if not done or not total or seconds is None or done > total:
        return None
    return seconds * (total - done) / done


def _line(
    event: str,
    head: str | None,
    text: str,
    done: float | None,
    total: float | None,
    seconds: float | None,
    left: float | None,
) -> str:
    if head is None or seconds is None:
        return text
    head = plain(head, 48)
    if event in ("start", "note"):
        return f"{head}: {text}"
    parts = []
    if event in ("done", "stopped"):
        parts.append(event)
    elif done is not None:
        parts.append(f"{done:,.6g}" + (f"/{total:,.6g} ({done / total:.0%})" if total else ""))
    if text:
        parts.append(text)
    parts.append(f"{seconds:.1f} s")
    if left is not None and done and seconds:
        parts += [f"{done / seconds:,.3g} a second", f"about {left:,.0f} s left"]
    return f"{head}: {', '.join(parts)}"


class _Rate(ProgressColumn):
    """Units a second, once there is something to tell."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.3g}/s" if task.speed and task.total else "")


def _bar(console: Console) -> Bar:
    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[note]}", markup=False),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=False),
        console=console,
        transient=True,
        redirect_stdout=False,  # results stay on stdout
        refresh_per_second=8,
    )

"""Tasks on this machine, some at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from harness.batch.playing import Ended, Playing
from harness.batch.tasks import Task

_PAUSE = 0.05  # seconds between two looks


def play(tasks: Sequence[Task], *, jobs: int) -> Iterator[tuple[Task, Ended]]:
    """Play tasks, `jobs` at a time, each in its process; gives them as they end. Leaving early ends what runs."""
    waiting = list(reversed(tasks))
    running: list[Playing] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.pop()
                running.append(Playing(task, task.path, task.home))
            for playing in list(running):
                ended = playing.poll()
                if ended is not None:
                    running.remove(playing)
                    yield playing.task, ended
            time.sleep(_PAUSE)
    finally:
        for playing in running:
            playing.interrupt()
        for playing in running:
            playing.end()

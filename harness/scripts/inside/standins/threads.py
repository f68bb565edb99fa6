"""Thread pools run their work at once, in the caller: the order of everything is then the same in every run.

It also makes forking safe: a forked process has no other threads, and a pool would wait for them for ever.
"""

from __future__ import annotations

import concurrent.futures.process
import concurrent.futures.thread
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from harness.scripts.inside.standins.uses import used


class Pool(concurrent.futures.Executor):
    """An executor without threads or processes."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._max_workers = 1

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """Do it now; an exception waits in the future, as ever."""
        used("thread pool")
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **_: Any) -> Iterator[Any]:
        """Do them now, in order."""
        return iter([fn(*items) for items in zip(*iterables, strict=False)])

    def shutdown(self, *_: Any, **__: Any) -> None:
        """Nothing is under way."""


def install() -> None:
    """Replace the pools, and count threads that a script starts itself: these stay threads."""
    library: Any = concurrent.futures
    library.ThreadPoolExecutor = library.thread.ThreadPoolExecutor = Pool
    library.ProcessPoolExecutor = library.process.ProcessPoolExecutor = Pool
    thread: Any = threading.Thread
    start = thread.start

    def counted(self: threading.Thread) -> None:
        used("thread (left as it is)")
        start(self)

    thread.start = counted

"""SIGTERM and SIGHUP end a command as Ctrl-C does: boxes are ended and their folders removed on the way out."""

from __future__ import annotations

import signal
from types import FrameType

#: Windows knows no SIGHUP.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_stopping: list[int] = []


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def listen() -> None:
    """From here on each of `SIGNALS` that is not ignored raises `Stopped` in the main thread.

    Once one has come, only Ctrl-C still interrupts: supervisors send several, while boxes are being removed.
    """
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and shells have it for what they do not stop
            signal.signal(number, _stop)


def exit_code(error: BaseException | None) -> int:
    """128 and the signal's number, as shells have it; 130 for an interrupt of unknown cause."""
    return 128 + (error.number if isinstance(error, Stopped) else signal.SIGINT)


def _stop(number: int, frame: FrameType | None) -> None:
    if _stopping and number != signal.SIGINT:
        return
    _stopping.append(number)
    raise Stopped(number)

"""What the box itself can see of a submission: its state, optimizer steps, backward passes, attempts to leave the box.

This is telemetry, written by code that shares a process with the submission: it can support an accusation with a
witness that is then replayed, it can never clear anyone. The flips, which run outside, do that.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from harness.kit.state import State

#: Audit events of the interpreter (PEP 578) that mean: the submission wanted to leave the box.
_NETWORK = {"socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto"}
_PROCESS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}
_MAX_NOTICES = 64


class Watch:
    """Counts updates and collects notices between two frames; install once per evaluation process."""

    def __init__(self) -> None:
        self._steps = 0
        self._backwards = 0
        self._notices: list[str] = []
        self._seen: set[str] = set()
        self._told = (0, 0, 0)
        self.state = State()

    def install(self) -> None:
        """Hook torch's optimizers and autograd, and the interpreter's audit events. Cannot be undone."""
        register_optimizer_step_post_hook(self._stepped)
        torch.autograd.backward = self._counting(torch.autograd.backward)
        torch.autograd.grad = self._counting(torch.autograd.grad)
        sys.addaudithook(self._audit)

    def take_updates(self) -> tuple[int, int]:
        """Optimizer steps and backward passes since the last call."""
        taken = self._steps, self._backwards
        self._steps = self._backwards = 0
        return taken

    def take_notices(self) -> list[str]:
        """Audit events since the last call, each told once."""
        taken, self._notices = self._notices, []
        return taken

    def take_state(self) -> tuple[int, int, int] | None:
        """Digests of the state, see `State.digests`; None where they are what they were at the last call."""
        now = self.state.digests()
        if now == self._told:
            return None
        self._told = now
        return now

    def _stepped(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        self._steps += 1
        self.state.stepped(optimizer)

    def _counting(self, function: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self._backwards += 1
            return function(*args, **kwargs)

        return counted

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _NETWORK:
            notice = f"network: {event} {_address(args)}"
        elif event in _PROCESS:
            notice = f"process: {event} {str(args[0])[:200] if args else ''}"
        else:
            return
        if notice not in self._seen and len(self._seen) < _MAX_NOTICES:
            self._seen.add(notice)
            self._notices.append(notice)


def _address(args: tuple[Any, ...]) -> str:
    """The address in a socket event's arguments, without the socket object itself."""
    return " ".join(str(arg)[:200] for arg in args if isinstance(arg, (str, bytes, int, tuple)))

"""Modal: functions that a cloud would run are run here, as they are called; `modal run` is the end of the script.

A file for `modal run` defines its functions and ends. So once it has, its local entry point is called, or, without one,
its only function.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from harness.scripts.inside.standins.uses import Anything, module, used

_ENTRIES: list[Callable[[], Any]] = []
_FUNCTIONS: list[_Function] = []


class _Function:
    """A function of an app: called in every way that Modal knows, it runs here."""

    def __init__(self, body: Callable[..., Any]) -> None:
        self.body, self.calls = body, 0
        self.__name__ = getattr(body, "__name__", "function")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        used("modal function")
        self.calls += 1
        return self.body(*args, **kwargs)

    local = remote = __call__

    def spawn(self, *args: Any, **kwargs: Any) -> Any:
        """The call, over once it returns."""
        made = self(*args, **kwargs)
        return types.SimpleNamespace(get=lambda *_, **__: made)

    def map(self, *columns: Any, **_: Any) -> list[Any]:
        """One call for each entry."""
        return [self(*row) for row in zip(*columns, strict=False)]


class App:
    """`modal.App`: its decorators."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def function(self, *_: Any, **__: Any) -> Callable[[Callable[..., Any]], _Function]:
        """A function of the app."""

        def made(body: Callable[..., Any]) -> _Function:
            found = _Function(body)
            _FUNCTIONS.append(found)
            return found

        return made

    def local_entrypoint(self, *_: Any, **__: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """What `modal run` calls."""

        def made(body: Callable[..., Any]) -> Callable[..., Any]:
            _ENTRIES.append(body)
            return body

        return made

    def run(self, *_: Any, **__: Any) -> Any:
        """A context in which functions can be called."""
        return Anything()


def finish() -> None:
    """What `modal run` does once the file has been read; nothing for scripts that called their functions themselves."""
    entries, functions = _ENTRIES[:], _FUNCTIONS[:]
    _ENTRIES.clear()
    _FUNCTIONS.clear()
    if any(function.calls for function in functions):
        return
    if entries:
        entries[0]()
    elif len(functions) == 1:
        functions[0]()


def install() -> None:
    """Make it importable."""
    names = dict.fromkeys(
        ("Image", "Volume", "Secret", "Mount", "gpu", "Dict", "Queue", "NetworkFileSystem"), Anything()
    )
    module("modal", App=App, Stub=App, is_local=lambda: True, **names)

"""What was replaced and how often it was used; what had no stand-in."""

from __future__ import annotations

import sys
import types
from collections import Counter
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NoReturn

#: Name of the thing replaced -> how often the script used it.
COUNTS: Counter[str] = Counter()
#: {"name", "why", "place"} of what could not be replaced.
MISSING: list[dict[str, str]] = []
#: Folder of the script's own files; set by the worker, to name places.
FOLDER = Path()


class NoStandIn(RuntimeError):
    """The script needs something for which there is no faithful stand-in. One line: what, why, where."""


def used(name: str) -> None:
    """Count one use."""
    COUNTS[name] += 1


def missing(name: str, why: str) -> NoReturn:
    """Note what has no stand-in, and stop.

    Raises:
        NoStandIn: always.
    """
    where = place()
    if len(MISSING) < 100:
        MISSING.append({"name": name, "why": why, "place": where})
    raise NoStandIn(f"no stand-in for {name}: {why} ({where})")


def place() -> str:
    """The innermost line of the script's own files that is running: "train_gpt.py:12 main"."""
    own = str(FOLDER)
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(own) and own != ".":
            return f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}"
        frame = frame.f_back
    return "outside the script"


def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with its uses counted under `name`."""

    def stand_in(*args: Any, **kwargs: Any) -> Any:
        COUNTS[name] += 1
        return function(*args, **kwargs)

    stand_in.__name__ = name.rpartition(".")[2]
    return stand_in


def module(name: str, **members: Any) -> types.ModuleType:
    """A module of that name, put where `import` finds it; parents that exist get it as an attribute."""
    made = types.ModuleType(name, "A stand-in.")
    made.__file__ = __file__  # code that looks at a module's source must find some
    made.__path__ = []  # so that it may have submodules
    made.__spec__ = ModuleSpec(name, None, is_package=True)  # `importlib.util.find_spec` asks for it
    made.__dict__.update(members)
    sys.modules[name] = made
    parent, _, own = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], own, made)
    return made


class Anything:
    """An object that takes every attribute, call and context: for switches that change speed, not results."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __setattr__(self, name: str, value: object) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As a decorator: the function itself."""
        return args[0] if len(args) == 1 and callable(args[0]) else Anything()

    def __enter__(self) -> Anything:
        return self

    def __exit__(self, *_: object) -> None:
        pass

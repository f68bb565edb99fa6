"""Which branches of the script's own files ran, and when: its files are compiled with calls that see it.

The text on disk stays, and so do names and line numbers; what a test, an arm or an operand gives is handed on as it is.
A threshold that is to be another number in this run (see `harness.scripts.asleep`) is the one thing that is not.
"""

from __future__ import annotations

import ast
import builtins
import importlib.machinery
import math
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from harness.scripts.trace.branches import ARM, ENTRY, OPERAND, TEST, instrument, settle

#: Files of a script that are looked at, each with its numbers from a multiple of this on.
_EACH = 1 << 20
_Number = int | float


class Branches:
    """What ran.

    Args:
        now: the number of the common order (`Book.seq`).
        files: names of the script's own files, relative to the folder that it runs in.
        thresholds: {"train_gpt.py:12": number}: operands that are to have another value.
        constants: {"12:NAME": number}: constants at a line of the first file that are to have another value.
    """

    def __init__(
        self,
        now: Callable[[], int],
        files: Sequence[str],
        thresholds: Mapping[str, float],
        constants: Mapping[str, _Number] = MappingProxyType({}),
    ) -> None:
        self._now = now
        self._files = list(files)
        self._tests: dict[int, list[int]] = {}
        self._arms: set[int] = set()
        self._filled: set[int] = set()
        self._entries: dict[int, int] = {}
        self._operands: dict[int, list[_Number]] = {}
        self._other: dict[int, _Number] = {}
        self._unwatched: set[str] = set()
        self._constants: dict[tuple[int, str], _Number] = {}
        for name, value in constants.items():
            line, _, constant = name.partition(":")
            self._constants[int(line), constant] = value
        for name, value in thresholds.items():
            file, _, number = name.rpartition(":")
            self._other[self._files.index(file) * _EACH + int(number)] = value

    def install(self, folder: str) -> None:
        """From now on, the script's modules are compiled so that they tell."""
        setattr(builtins, TEST, self._test)
        setattr(builtins, ARM, self._arm)
        setattr(builtins, OPERAND, self._operand)
        setattr(builtins, ENTRY, self._entry)
        kept = importlib.machinery.SourceFileLoader.source_to_code
        paths = {os.path.realpath(os.path.join(folder, name)): index for index, name in enumerate(self._files)}
        cached = importlib.machinery.SourceFileLoader.get_code

        def source_to_code(loader: Any, data: Any, path: Any, **more: Any) -> Any:
            index = paths.get(os.path.realpath(path)) if isinstance(path, str) else None
            made = None if index is None else self.compiled(data, path, index)
            return kept(loader, data, path, **more) if made is None else made

        def get_code(loader: Any, name: str) -> Any:
            path = loader.path
            if os.path.realpath(path) in paths:  # no compiled file is believed or left
                return loader.source_to_code(loader.get_data(path), path)
            return cached(loader, name)

        loaders: Any = importlib.machinery.SourceFileLoader
        loaders.source_to_code, loaders.get_code = source_to_code, get_code

    def run(self, path: str, index: int = 0) -> None:
        """Run a file as `__main__`, as `python FILE` does."""
        with open(path, "rb") as file:
            data = file.read()
        code = self.compiled(data, path, index) or compile(data, path, "exec")
        module = types.ModuleType("__main__")
        module.__dict__.update(__file__=path, __builtins__=builtins, __cached__=None, __loader__=None)
        before = sys.modules["__main__"]
        sys.modules["__main__"] = module
        try:
            exec(code, module.__dict__)  # noqa: S102  # this is the box's side
        finally:
            sys.modules["__main__"] = before

    def compiled(self, data: Any, path: str, index: int) -> types.CodeType | None:
        """The code of a file that tells; None where it cannot be made so, and runs as it is."""
        try:
            tree = instrument(settle(ast.parse(data, path), {} if index else self._constants), index * _EACH)
            return compile(tree, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self._unwatched.add(self._files[index])
            return None

    def _test(self, number: int, value: Any) -> Any:
        met = self._tests.get(number)
        if isinstance(value, (list, tuple, dict, set, str)):
            self._filled.add(number)
        now = self._now()
        if met is None:
            self._tests[number] = [now, now]
        else:
            met[1] = now
        return value

    def _entry(self, number: int) -> None:
        self._entries[number] = self._now()

    def _arm(self, number: int, value: Any = None) -> Any:
        self._arms.add(number)
        return value

    def _operand(self, number: int, value: Any) -> Any:
        if type(value) is int or type(value) is float:
            met = self._operands.get(number)
            if met is None:
                self._operands[number] = [value, value]
            elif value < met[0]:
                met[0] = value
            elif value > met[1]:
                met[1] = value
            if number in self._other:
                return self._other[number]
        return value

    def told(self) -> dict[str, Any]:
        """For `Observed.facts`: tests with an arm that never ran, what was compared, and when functions began last.

        How many of each there are is told beside, as tables of a run are cut where they are too long.
        """
        asleep = [
            {"file": self._files[number // _EACH], "number": number % _EACH, "first": first, "last": last,
             "filled": int(number in self._filled),
             "ran": (2 * number in self._arms) + 2 * (2 * number + 1 in self._arms)}
            for number, (first, last) in sorted(self._tests.items())
            if not {2 * number, 2 * number + 1} <= self._arms
        ]  # fmt: skip
        operands = [
            {"file": self._files[number // _EACH], "number": number % _EACH, "low": low, "high": high}
            for number, (low, high) in sorted(self._operands.items())
            if math.isfinite(low) and math.isfinite(high)
        ]
        entered = [
            {"file": self._files[number // _EACH], "number": number % _EACH, "last": last}
            for number, last in sorted(self._entries.items())
        ]
        watched = {"tests": len(self._tests), "branches": len(asleep), "functions": len(entered),
                   "unwatched": len(self._unwatched)}  # fmt: skip
        return {"branches": asleep, "operands": operands, "functions": entered, "watched": watched}

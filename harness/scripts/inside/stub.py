"""The box's side of a stub that reading does not open: run it until it would execute code, tell that code, end.

An audit hook of the interpreter sees what is compiled and executed, by whatever name it is called, and every new
process. How the stub gets there is its own affair; only the text is told, and nobody believes it.
"""

from __future__ import annotations
import __future__

import ast
import json
import os
import shlex
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from types import CodeType, FrameType, ModuleType, TracebackType
from typing import Any, NoReturn

import numpy as np

from harness.sandbox.protocol import Kind
from harness.sandbox.wire import Wire

_KEPT = 64  # compiled texts that are remembered
_CODE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_FUTURE = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})
#: The place of the command among what the interpreter tells of a new process.
_COMMANDS = {"subprocess.Popen": 1, "os.exec": 1, "os.posix_spawn": 1, "os.spawn": 2, "os.system": 0}
_VARIABLES = {"subprocess.Popen": 3, "os.exec": 2, "os.posix_spawn": 2, "os.spawn": 3}


def main(wire: Wire, args: Sequence[str]) -> int:
    """Run one stub; the answer is one frame."""
    facts = json.loads(wire.recv().arrays[0].tobytes())
    os.chdir(facts["folder"])
    folder = os.getcwd()
    sys.path.insert(0, folder)
    os.environ.update(facts["env"])
    watch = Watch(wire, folder, os.path.join(folder, facts["entry"]), int(facts["limit"]))
    watch.run()
    return 0


class Watch:
    """Runs the stub as `__main__` and waits for what it would execute.

    Args:
        wire: for the answer.
        folder: of the stub and the files beside it.
        entry: the stub.
        limit: most bytes of a text.
    """

    def __init__(self, wire: Wire, folder: str, entry: str, limit: int) -> None:
        self._wire, self._folder, self._entry, self._limit = wire, folder, entry, limit
        self._libraries = tuple({os.path.realpath(sysconfig.get_path(name)) for name in (
            "stdlib", "platstdlib", "purelib", "platlib")} | {sysconfig.get_path("stdlib"), _CODE})  # fmt: skip
        self._compiled: list[tuple[Any, str]] = []
        self._before = dict(os.environ)
        self._beside = {path: _digest(path) for path in _files(folder)}
        self._busy = False

    def run(self) -> None:
        """Until the stub would execute something, or ends."""
        with open(self._entry, "rb") as file:
            source = file.read()
        module = ModuleType("__main__")
        module.__dict__.update(__file__=self._entry, __cached__=None)
        sys.modules["__main__"] = module
        sys.argv = [self._entry]
        code = compile(source, self._entry, "exec", dont_inherit=True)
        sys.addaudithook(self._hook)
        try:
            exec(code, module.__dict__)  # noqa: S102  this is the box
        except SyntaxError as error:
            self._unreadable(error)
            self._tell(problem=f"it ended with {_said(error)}")
        except SystemExit:
            self._tell(problem="it ended by itself and executed nothing")
        except BaseException as error:
            self._tell(problem=f"it ended with {_said(error)}")
        self._tell(problem="it ended and executed nothing")

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self._busy or event not in ("compile", "exec", *_COMMANDS):
            return
        self._busy = True
        try:
            frame = sys._getframe(1)
            if event == "compile":
                caller = frame.f_code.co_filename
                if isinstance(args[0], (str, bytes)) and (self._own(caller) or caller == ast.__file__):
                    self._compiled = [*self._compiled[-_KEPT:], (args[0], os.fsdecode(args[1] or "<string>"))]
            elif event == "exec":
                self._executes(args[0], frame)
            else:
                self._starts(event, args, frame)
        finally:
            self._busy = False

    def _executes(self, code: CodeType, frame: FrameType) -> None:
        """Some code is about to run."""
        if self._own(frame.f_code.co_filename):
            text = self._source(code)
            if text is None:
                self._tell(problem="it executes compiled code whose text is not known")
            elif not _is_value(text):
                self._tell(text, "exec", frame)
            return
        path = os.path.realpath(code.co_filename)
        if code.co_name != "<module>" or self._library(path) or path == self._entry or not os.path.isfile(path):
            return  # what libraries make for themselves
        if self._beside.get(path) == _digest(path):
            return  # a file of the folder, which is read as it is
        with open(path, "rb") as file:
            self._tell(_decoded(file.read()), "a file that it wrote", frame)

    def _starts(self, event: str, args: tuple[Any, ...], frame: FrameType) -> None:
        """A new process is about to be started."""
        command = args[_COMMANDS[event]]
        command = os.fsdecode(command) if isinstance(command, (str, bytes, os.PathLike)) else command
        try:
            words = shlex.split(command) if isinstance(command, str) else [os.fsdecode(word) for word in command]
        except (ValueError, TypeError):
            return
        index = next((n for n, word in enumerate(words) if word.endswith(".py") or word == "-c"), None)
        if index is None or not any("py" in word or "torchrun" in word for word in words[: max(index, 1)]):
            return
        if words[index] == "-c":
            text, rest = "".join(words[index + 1 : index + 2]), words[index + 2 :]
        else:
            path, rest = os.path.realpath(words[index]), words[index + 1 :]
            if not os.path.isfile(path):
                return
            if path == self._entry:
                self._tell(problem="it starts itself again in a new process")
            with open(path, "rb") as file:
                text = _decoded(file.read())
        if rest:
            self._tell(problem=f"it starts a new process with arguments ({' '.join(rest)[:80]})")
        given = args[_VARIABLES[event]] if event in _VARIABLES else None
        variables = {} if given is None else {os.fsdecode(name): os.fsdecode(value) for name, value in given.items()}
        more = {name: value for name, value in variables.items() if os.environ.get(name) != value}
        self._tell(text, "a new process", frame, more)

    def _unreadable(self, error: SyntaxError) -> None:
        """A text that this Python cannot compile is the one that was to be executed; it may be for a newer one."""
        if self._compiled:
            source, name = self._compiled[-1]
            if error.filename == name:
                lines = _traced(error.__traceback__, self._entry)
                self._send({"how": "exec", "lines": lines, "variables": {}}, _decoded(source))

    def _source(self, code: CodeType) -> str | None:
        """The text that was compiled to this code; None where none was."""
        for source, _ in reversed(self._compiled):
            for mode in ("exec", "eval", "single"):
                try:
                    made = compile(source, code.co_filename, mode, flags=code.co_flags & _FUTURE, dont_inherit=True)
                except (SyntaxError, ValueError, TypeError):
                    continue
                if made == code:
                    return _decoded(source)
        return None

    def _own(self, name: str) -> bool:
        return not (name.startswith("<frozen") or self._library(name))

    def _library(self, name: str) -> bool:
        return name.startswith(self._libraries)

    def _tell(
        self, text: str = "", how: str = "", frame: FrameType | None = None,
        variables: Mapping[str, str] | None = None, problem: str | None = None,
    ) -> NoReturn:  # fmt: skip
        """Answer, and end the box."""
        lines: list[int] = []
        while frame is not None and frame.f_code.co_filename != __file__:
            name = frame.f_code.co_filename
            if name == self._entry:
                lines.insert(0, frame.f_lineno)
                if frame.f_code.co_name in ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"):
                    problem = problem or f"line {frame.f_lineno}: code is executed in a loop"
            elif self._own(name):
                problem = problem or f"{os.path.basename(name)} line {frame.f_lineno} executes code"
            frame = frame.f_back
        if len(text.encode("utf-8", "replace")) > self._limit:
            text, problem = "", f"it unpacks to more than {self._limit:,} bytes"
        self._send({"how": how, "lines": lines, "variables": dict(variables or {}), "problem": problem}, text)

    def _send(self, facts: Mapping[str, Any], text: str) -> NoReturn:
        arrays = [np.frombuffer(part.encode("utf-8", "replace"), np.uint8) for part in (json.dumps(facts), text)]
        self._wire.send(Kind.SHOWN, *arrays)
        os._exit(0)


def _is_value(text: str) -> bool:
    """Whether a text is an expression that calls nothing: data that are spelled out."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return not any(isinstance(node, (ast.Call, ast.Await, ast.NamedExpr)) for node in ast.walk(tree))


def _decoded(source: Any) -> str:
    return source if isinstance(source, str) else bytes(source).decode("utf-8-sig", "replace")


def _traced(trace: TracebackType | None, entry: str) -> list[int]:
    lines = []
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == entry:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return lines


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]


def _files(folder: str) -> list[str]:
    return [os.path.realpath(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names]


def _digest(path: str) -> bytes:
    import hashlib

    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).digest()

"""Programs that scripts start: `nvidia-smi` answers a line; compressors and minifiers pass through; others are absent.

The box has no programs. A script that can do without one goes on; one that cannot says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from harness.scripts.inside.standins.uses import used

_SMI = "NVIDIA H100 80GB HBM3 (stand-in), 0 MiB, 0 %\n"
#: Programs whose result is the same file or text, only larger than the real one would make it.
_COPIERS = {"lrzip", "zstd", "xz", "brotli", "7z", "zpaq"}
_FILTERS = {"pyminify", "python-minifier"}


def _name(command: Any) -> str:
    first = command.split()[0] if isinstance(command, str) and command.split() else command
    first = first[0] if isinstance(first, (list, tuple)) and first else first
    return os.path.basename(str(first))


def _answer(command: Any, kwargs: dict[str, Any], out: bytes) -> subprocess.CompletedProcess[Any]:
    text = any(kwargs.get(key) for key in ("text", "universal_newlines", "encoding"))
    return subprocess.CompletedProcess(command, 0, out.decode() if text else out, "" if text else b"")


def _copy(command: Any) -> bool:
    """`lrzip ... -o OUT IN`: IN copied to OUT; False where the command is of another form."""
    words = command.split() if isinstance(command, str) else [str(word) for word in command]
    if "-o" not in words[:-1]:
        return False
    target = Path(words[words.index("-o") + 1])
    sources = [Path(word) for word in words[1:] if not word.startswith("-") and Path(word) != target]
    sources = [source for source in sources if source.is_file()]
    if len(sources) != 1:
        return False
    shutil.copyfile(sources[0], target)
    return True


def _stand_in(command: Any, kwargs: dict[str, Any]) -> subprocess.CompletedProcess[Any] | None:
    name = _name(command)
    if name == "nvidia-smi":
        used("nvidia-smi")
        return _answer(command, kwargs, _SMI.encode())
    if name in _FILTERS and kwargs.get("input") is not None:
        used(name)
        given = kwargs["input"]
        return _answer(command, kwargs, given.encode() if isinstance(given, str) else given)
    if name in _COPIERS and _copy(command):
        used(name)
        return _answer(command, kwargs, b"")
    return None


def install() -> None:
    """Replace `subprocess`'s helpers and `os.system`."""
    library: Any = subprocess
    run, which = library.run, shutil.which

    def stand_in_run(command: Any, *args: Any, **kwargs: Any) -> Any:
        answer = _stand_in(command, kwargs)
        if answer is not None:
            return answer
        used(f"program {_name(command)}")
        if kwargs.get("shell") and not os.path.exists("/bin/sh"):  # a shell would say the same of a missing program
            return subprocess.CompletedProcess(command, 127, *(2 * ("" if kwargs.get("text") else b"",)))
        return run(command, *args, **kwargs)

    def output(command: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("stderr", None)
        done = stand_in_run(command, *args, stdout=subprocess.PIPE, **kwargs)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout)
        return done.stdout

    def call(command: Any, *args: Any, **kwargs: Any) -> int:
        return int(stand_in_run(command, *args, **kwargs).returncode)

    def check_call(command: Any, *args: Any, **kwargs: Any) -> int:
        if code := call(command, *args, **kwargs):
            raise subprocess.CalledProcessError(code, command)
        return 0

    def find(name: str, *args: Any, **kwargs: Any) -> str | None:
        return f"/usr/bin/{name}" if name in {"nvidia-smi", *_COPIERS} else which(name, *args, **kwargs)

    library.run, library.check_output, library.call, library.check_call = stand_in_run, output, call, check_call
    system: Any = os
    system.system = lambda command: stand_in_run(command, {}, shell=True).returncode << 8
    finder: Any = shutil
    finder.which = find

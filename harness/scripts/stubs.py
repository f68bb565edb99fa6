"""A stub that reading does not open, run alone in the box until it would execute something; that text comes back.

The box is that of any run of a script: no network, nothing of this machine, few seconds and little memory, and here no
data either. What comes back is a text of bounded size, which is parsed and never run on this side. The stub is run
twice, the second time with the variables of a launcher; two texts are no text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness.sandbox.box import Box, Limits, Sandbox
from harness.sandbox.protocol import Kind
from harness.sandbox.wire import Frame, WireError
from harness.scripts.opening import Opener
from harness.source.unwrap import LIMIT, Shown, Shows
from harness.text import clean

MODULE = "harness.scripts.inside.stub"
#: Unpacking takes a fraction of a second; decoders that are written in Python may take some.
LIMITS = Limits(
    memory_bytes=1 << 30,
    processes=8,
    cpu_seconds=30.0,
    output_bytes=1 << 16,
    file_bytes=64 << 20,
    wall_seconds=120.0,
)
#: Wrappers of one script that are opened this way.
_MOST = 4
_FACTS = 1 << 16  # bytes
_LINES = 32
_HOWS = ("exec", "a file that it wrote", "a new process")
_LAUNCHED = {
    "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "8", "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500", "PYTHONHASHSEED": "1",
}  # fmt: skip


def opener(sandbox: Sandbox, logs: Path, limits: Limits = LIMITS) -> Opener:
    """Runs stubs in boxes of a level; what they print goes into `logs`."""

    def shows(contents: Mapping[str, bytes], entry: str) -> Shows:
        left = iter(range(_MOST))

        def shown(text: str) -> Shown:
            if next(left, None) is None:
                return Shown(problem=f"more than {_MOST} wrappers would have to be run")
            files = {**contents, entry: _as_shipped(contents.get(entry, b""), text)}
            first = _run(files, entry, {}, sandbox, logs / "stub.log", limits)
            if first.problem is not None:
                return first
            second = _run(files, entry, _LAUNCHED, sandbox, logs / "stub-again.log", limits)
            if second != first:
                why = f", and once it did not: {second.problem}" if second.problem else ""
                return Shown(problem=f"two runs of it would have executed different code{why}")
            return first

        return shown

    return shows


def _as_shipped(content: bytes, text: str) -> bytes:
    """The bytes of a text: the file's own, where the text is the file's."""
    return content if content.decode("utf-8-sig", "replace") == text else text.encode("utf-8", "replace")


def _run(
    files: Mapping[str, bytes], entry: str, env: Mapping[str, str], sandbox: Sandbox, log: Path, limits: Limits
) -> Shown:
    """What one run shows.

    Raises:
        SandboxError: no box can be built here.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    hashing = {name: value for name, value in env.items() if name == "PYTHONHASHSEED"}
    with Box(MODULE, read=[], limits=limits, log=log, env=hashing, sandbox=sandbox) as box:
        folder = box.scratch / "run"
        for name, content in {entry: files[entry], **files}.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        facts = {"folder": "run", "entry": entry, "env": dict(env), "limit": LIMIT}
        shown: Shown | None = None
        why = ""
        try:
            box.wire.send(Kind.STUB, np.frombuffer(json.dumps(facts).encode(), np.uint8))
            shown = _read(box.wire.recv(timeout=limits.patience))
        except WireError as error:
            why = str(error)
        try:
            ended = box.kill() if shown is not None else box.wait(10.0)
        except TimeoutError:
            ended = box.kill()
    if shown is not None:
        return shown
    ended_why = ended.message if ended.state not in ("ok", "KL") else why
    return Shown(problem=f"it executed nothing before it was ended ({clean(ended_why, 160)})")


def _read(frame: Frame) -> Shown:
    """A frame as what it may be at most: a text, a word and some numbers."""
    frame.close()
    arrays = frame.arrays
    odd = Shown(problem="it broke the wire's format")
    if frame.kind != Kind.SHOWN or len(arrays) != 2 or any(array.dtype != np.uint8 for array in arrays):
        return odd
    if arrays[0].size > _FACTS or arrays[1].size > LIMIT:
        return odd
    try:
        facts = json.loads(arrays[0].tobytes())
        text = arrays[1].tobytes().decode()
    except (ValueError, RecursionError):
        return odd
    if not isinstance(facts, dict):
        return odd
    lines, variables, how, problem = (facts.get(name) for name in ("lines", "variables", "how", "problem"))
    if problem is not None:
        return Shown(problem=clean(problem, 300))
    if (
        not isinstance(lines, list)
        or not isinstance(variables, dict)
        or how not in _HOWS
        or len(lines) > _LINES
        or not all(isinstance(line, int) and 0 < line < 1 << 31 for line in lines)
        or not all(isinstance(value, str) for pair in variables.items() for value in pair)
    ):
        return odd
    return Shown(text, str(how), tuple(lines), variables)

"""`harness doctor`: what this machine can do, each line found out by trying."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from harness.errors import SandboxError
from harness.sandbox.linux import elsewhere
from harness.sandbox.probe import available

#: Seconds by the clock that a box may take to load everything, on the busiest machine.
_PATIENCE = 300.0

_EXTRAS = {
    "flash_attn": "the [cuda] extra: faster attention on GPUs",
    "huggingface_hub": "the [data] extra: --data fineweb:sp1024",
    "ray": "the [cluster] extra: harness batch --ray",
}


@dataclass(frozen=True)
class Line:
    """One fact. `needed` ones decide whether the machine is fit."""

    name: str
    good: bool
    text: str
    needed: bool = False


def examine() -> Iterator[Line]:
    """Look at Python, processors, disk, sandboxes, GPU and optional packages, in that order."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Line("python", sys.version_info >= (3, 11), version, needed=True)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Line("processors", cpus >= 2, f"{cpus} (flips run two at a time)")
    free = shutil.disk_usage(".").free / 1e9
    yield Line("disk", free > 2, f"{free:.0f} GB free here", needed=True)
    if (why := elsewhere()) is not None:
        yield Line("sandbox", False, why, needed=True)
        return
    levels = available()
    working = [level for level in levels if level.filesystem and level.network]
    for level in levels:
        yield Line(f"sandbox: {level.name}", level in working, level.note)
    best = working[0].name if working else "none works; --no-sandbox runs without isolation"
    yield Line("sandbox in use", bool(working), best, needed=True)
    lacking = [name for name in ("torch", "safetensors") if importlib.util.find_spec(name) is None]
    if lacking:
        yield Line("running", False, f"needs {' and '.join(lacking)}: pip install 'golf-harness[run]'", needed=True)
    elif working:
        yield ready()
    yield _gpu()
    for module, what in _EXTRAS.items():
        yield Line(module, importlib.util.find_spec(module) is not None, what)


def ready() -> Line:
    """Whether a box, in which nothing of this process's surroundings is left, can load what submissions run on."""
    from harness.adapters.training import WORKER, not_ready
    from harness.sandbox.box import Box, Limits
    from harness.sandbox.protocol import Kind
    from harness.sandbox.wire import WireError

    name = "python in the box"
    with tempfile.TemporaryDirectory(prefix="golf-doctor-") as scratch:
        try:
            with Box(WORKER, read=(), limits=Limits(), log=Path(scratch, "log")) as box:
                try:
                    good = box.wire.recv(timeout=_PATIENCE).kind == Kind.READY
                except WireError:
                    return Line(name, False, f"{sys.executable}: {not_ready(box)}", needed=True)
        except SandboxError as error:
            return Line(name, False, str(error), needed=True)
    return Line(name, good, "loads numpy, torch and the kit", needed=True)


def _gpu() -> Line:
    if importlib.util.find_spec("torch") is None:
        return Line("GPU", False, "not looked for without torch")
    import torch

    if not torch.cuda.is_available():
        return Line("GPU", False, "none: smoke scale only; clocks are not comparable with 8xH100")
    return Line("GPU", True, f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}")


@click.command("doctor")
def command() -> None:
    """Say what this machine can do: sandbox, GPU, optional packages."""
    healthy = True
    for line in examine():
        click.echo(f"{'ok  ' if line.good else 'NO  ' if line.needed else '-   '} {line.name:22s} {line.text}")
        healthy &= line.good or not line.needed
    raise SystemExit(0 if healthy else 4)

"""`harness doctor`: what this machine can do, each line found out by trying."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from harness.sandbox.probe import available

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
    levels = available()
    working = [level for level in levels if level.filesystem and level.network]
    for level in levels:
        yield Line(f"sandbox: {level.name}", level in working, level.note)
    best = working[0].name if working else "none works; --no-sandbox runs without isolation"
    yield Line("sandbox in use", bool(working), best, needed=True)
    yield _gpu()
    for module, what in _EXTRAS.items():
        yield Line(module, importlib.util.find_spec(module) is not None, what)


def _gpu() -> Line:
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

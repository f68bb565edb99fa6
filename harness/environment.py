"""Facts about the harness and the host, for the part of a record that its digest leaves out."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from harness import __version__
from harness.record import HarnessInfo

_PACKAGES = ("torch", "numpy", "sentencepiece", "brotli", "safetensors", "pydantic")


@cache
def harness_info() -> HarnessInfo:
    """Version, and the git commit where the harness runs from a checkout."""
    root = Path(__file__).resolve().parent.parent
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    status = _git(root, "status", "--porcelain", "--untracked-files=no") if commit else None
    return HarnessInfo(version=__version__, commit=commit, dirty=None if status is None else bool(status))


def describe_host() -> dict[str, object]:
    """Python, packages, kernel and processors of this machine; no name and no path."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def started(seconds: float) -> str:
    """When a run began that has taken so many seconds: UTC, to the second, as in 2026-04-28T12:00:00Z."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(root: Path, *args: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None

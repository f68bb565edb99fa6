"""Facts about the harness and the host, for the part of a record that its digest leaves out."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from harness import __version__, git
from harness.errors import HarnessError
from harness.files import digest
from harness.record import HarnessInfo
from harness.sandbox.linux import need_linux

#: The folder of the package that holds submissions, where it was installed as a wheel.
EXAMPLES = "examples"
#: What boxes load beyond the core's dependencies.
_RUN = ("torch", "safetensors")
_PACKAGES = ("torch", "numpy", "sentencepiece", "brotli", "safetensors", "pydantic")


@cache
def harness_info() -> HarnessInfo:
    """Version, and the git commit where the harness runs from a checkout."""
    root = Path(__file__).resolve().parent.parent
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    status = _git(root, "status", "--porcelain", "--untracked-files=no") if commit else None
    return HarnessInfo(version=__version__, commit=commit, dirty=None if status is None else bool(status))


@cache
def harness_sha256() -> str:
    """sha256 over names and bytes of the running harness's own files: a change that is not committed counts too."""
    return digest(own_files())


def own_files() -> dict[str, bytes]:
    """The running harness's files by path below its folder: code, rules and templates, caches left out."""
    house = Path(__file__).resolve().parent
    return {
        path.relative_to(house).as_posix(): path.read_bytes()
        for path in sorted(house.rglob("*"))
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.suffix != ".pyc"
        and path.relative_to(house).parts[0] != EXAMPLES
    }


def examples() -> Path | None:
    """Where the submissions lie that ship with the harness: in the package, or beside it in a checkout."""
    house = Path(__file__).resolve().parent
    return next((place for place in (house / EXAMPLES, house.parent / "submissions") if place.is_dir()), None)


def need_run() -> None:
    """Refuse to begin what cannot be run here, before anything is prepared.

    Raises:
        HarnessError: a package of the extra [run] is missing, or this is no Linux; one line with the remedy.
    """
    need_linux()
    need_packages(*_RUN)


def need_packages(*names: str) -> None:
    """Refuse to begin what needs packages that are not here.

    Raises:
        HarnessError: one is missing; one line with the remedy.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise HarnessError(f"running needs {' and '.join(missing)}: pip install 'golf-harness[run]'")


def describe_host() -> dict[str, object]:
    """Python, packages, kernel and processors of this machine; no name and no path."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "packages": {name: package_version(name) for name in _PACKAGES},
    }


def started(seconds: float) -> str:
    """When a run began that has taken so many seconds: UTC, to the second, as in 2026-04-28T12:00:00Z."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def package_version(package: str) -> str | None:
    """The installed version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(root: Path, *args: str) -> str | None:
    try:
        words = git.command(root, *args)
        done = subprocess.run(
            words, capture_output=True, encoding="utf-8", timeout=10, check=False, env=git.environment()
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None

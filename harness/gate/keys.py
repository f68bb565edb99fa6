"""What a record depends on, hashed: so that a result is taken again only where everything is the same."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from harness.environment import harness_info, harness_sha256, own_files, package_version
from harness.git import Repository

#: Libraries whose arithmetic, compression or parsing enters a record.
_PACKAGES = ("torch", "numpy", "scipy", "sentencepiece", "brotli", "safetensors", "pandas", "pydantic")


def key(**parts: object) -> str:
    """sha256 over named parts, plain data each, in canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def device() -> str:
    """The class of this machine, as far as arithmetic may depend on it: processor model, Python, libraries."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    versions = " ".join(f"{name} {package_version(name)}" for name in _PACKAGES)
    return f"CPU {platform.machine()} {model}, Python {platform.python_version()}, {versions}"


def differs_from(repository: Repository, commit: str) -> bool | None:
    """Whether the running harness is another than the one in `commit`; None where the commit has none."""
    entries = {entry.path.removeprefix("harness/"): entry.object for entry in repository.entries(commit, "harness")}
    if "__init__.py" not in entries or "gate/run.py" not in entries:
        return None
    own = own_files()
    length = len(entries["__init__.py"])
    return entries.keys() != own.keys() or any(_blob(own[name], length) != entries[name] for name in own)


def described() -> Mapping[str, object]:
    """Version, commit and digest of the running harness, as a gate's result shows it."""
    return {**harness_info().model_dump(), "sha256": harness_sha256()}


def _blob(content: bytes, digits: int) -> str:
    """The name that git gives these bytes, in its old (40 digits) or new hash."""
    head = f"blob {len(content)}\0".encode()
    return (hashlib.sha1(head + content) if digits == 40 else hashlib.sha256(head + content)).hexdigest()

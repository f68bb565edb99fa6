"""What a box sees of the machine: its own staged code, Python, the system's libraries, and what the caller names."""

from __future__ import annotations

import glob
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import harness
from harness.errors import SandboxError

_PACKAGE = Path(harness.__file__).resolve().parent
#: The modules of this room that run in the box or build it from inside; the rest is the parent's.
_STAGED = (
    "__init__", "apart", "boot", "bubblewrap", "jail", "kernel", "landlock", "launcher", "peers", "plan", "processes",
    "protocol", "report", "seccomp", "warm", "wire",
)  # fmt: skip
#: What scripts/inside shares with the parent: how a run is written down.
_BESIDE_INSIDE = (
    "scripts/__init__.py",
    "scripts/trace/__init__.py",
    "scripts/trace/branches.py",
    "scripts/trace/observed.py",
)
#: What of the library runs in a box: a model that is called there.
_LIBRARY = ("library/__init__.py", "library/calling.py", "library/serving.py")
_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/alternatives", "/sys/devices/system/cpu", "/sys/devices/system/node",
)  # fmt: skip
#: With a GPU: Triton compiles with the machine's compiler, and CUDA looks at the bus.
_SYSTEM_WITH_GPU = (
    "/bin", "/usr/bin", "/usr/include", "/usr/libexec", "/usr/local/cuda", "/usr/local/nvidia", "/sys/bus/pci",
    "/sys/devices",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


@dataclass(frozen=True)
class View:
    """Paths as the box's plan wants them.

    Attributes:
        read: real paths, parents before children, none inside another.
        links: (path, real path) for names that are, or lie behind, symbolic links.
        devices: device files.
        hide: folders inside `read` that must look empty: the referee's own package, where it is installed.
    """

    read: list[str]
    links: list[tuple[str, str]]
    devices: list[str]
    hide: list[str]


def stage(folder: Path) -> None:
    """Copy what of the package runs in a box: harness/{sandbox (child side), kit, scripts/inside}, some of library."""
    target = folder / "harness"
    target.mkdir(parents=True)
    shutil.copy2(_PACKAGE / "__init__.py", target)
    (target / "sandbox" / "__pycache__").mkdir(parents=True)
    for name in _STAGED:
        shutil.copy2(_PACKAGE / "sandbox" / f"{name}.py", target / "sandbox")
        # Compiled code comes along, for start-up time; it fits because copy2 keeps the source's date.
        for compiled in (_PACKAGE / "sandbox" / "__pycache__").glob(f"{name}.{sys.implementation.cache_tag}.pyc"):
            shutil.copy2(compiled, target / "sandbox" / "__pycache__")
    if (_PACKAGE / "kit").is_dir():
        shutil.copytree(_PACKAGE / "kit", target / "kit")
    for name in _LIBRARY:
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copy2(_PACKAGE / name, target / name)
    if (_PACKAGE / "scripts" / "inside").is_dir():
        shutil.copytree(_PACKAGE / "scripts" / "inside", target / "scripts" / "inside")
        for name in _BESIDE_INSIDE:
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copy2(_PACKAGE / name, target / name)


def view(wanted: Iterable[Path]) -> View:
    """What to show so that Python works in the box and `wanted` can be read.

    Raises:
        SandboxError: something wanted does not exist, or is the root of the file system.
    """
    devices = [path for path in (*_DEVICES, *_gpu_devices()) if os.path.exists(path)]
    paths = [*_python(), *_SYSTEM]
    if len(devices) > len(_DEVICES):
        paths += [*_SYSTEM_WITH_GPU, sysconfig.get_path("include")]
    paths = [path for path in paths if os.path.exists(path)]
    for place in wanted:
        if not place.exists():
            raise SandboxError(f"cannot show {place} to the box: no such file or folder")
        paths.append(os.path.abspath(place))
    real = {path: os.path.realpath(path) for path in paths}
    if "/" in real.values():
        raise SandboxError("cannot show the whole file system to the box; name the folders that it needs")
    read: list[str] = []
    for path in sorted(set(real.values())):
        if not _inside(path, read):
            read.append(path)
    links = sorted({(path, target) for path, target in real.items() if path != target and not _inside(path, read)})
    hide = [str(_PACKAGE)] if _inside(str(_PACKAGE), read) and str(_PACKAGE) not in read else []
    return View(read, links, devices, hide)


def _inside(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def _gpu_devices() -> list[str]:
    found = glob.glob("/dev/nvidia*") + glob.glob("/dev/nvidia-caps/*")
    return sorted(path for path in found if not os.path.isdir(path))


def _python() -> list[str]:
    """The interpreter (every link on the way to it), its libraries and its installed packages."""
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    for prefix in (sys.prefix, sys.base_prefix):
        paths += [os.path.join(prefix, name) for name in ("lib", "lib64", "pyvenv.cfg")]
    hop = os.path.abspath(sys.executable)
    while True:
        paths.append(hop)
        if not os.path.islink(hop):
            break
        hop = os.path.abspath(os.path.join(os.path.dirname(hop), os.readlink(hop)))
    base = os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))
    if base != "/":
        paths += [os.path.join(base, "lib"), os.path.join(base, "lib64")]
    return paths

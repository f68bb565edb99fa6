"""Tasks on a Ray cluster: files of a submission go to a machine, the folder of its result comes back.

Ray retries a task whose worker process or machine is lost; a result is written once, by the process that asked. Every
machine needs this harness, with its dependencies, and `--data`; another version of it refuses.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import socket
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
from harness.batch.playing import Ended, Playing
from harness.batch.tasks import Task, files_of
from harness.environment import harness_sha256
from harness.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from types import ModuleType

#: How often a task is tried again after its worker or machine was lost.
RETRIES = 3

#: `--ray` without an address: a Ray of our own on this machine, for as long as the batch takes.
LOCAL = "local"

_PAUSE = 0.1
_CONNECT = 10.0  # seconds


def play(
    tasks: Sequence[Task], *, address: str, cpus: int, jobs: int | None = None, retries: int = RETRIES
) -> Iterator[tuple[Task, Ended]]:
    """Play tasks on a cluster; gives them as they end, each once, with its results in its home.

    Args:
        tasks: what to play.
        address: of a running cluster as Ray takes it ("auto", "HOST:PORT", "ray://..."), or `LOCAL`.
        cpus: processors that one task is given.
        jobs: tasks in flight at most; as many as the cluster has room for, and as many again, by default.
        retries: how often a task is tried again after a loss.

    Raises:
        UsageError: Ray is not installed.
        HarnessError: there is no cluster at the address.
    """
    ray = _ray()
    _connect(ray, address)
    try:
        remote = ray.remote(_play_there).options(num_cpus=cpus, max_retries=retries)
        most = jobs or max(2, 2 * int(ray.cluster_resources().get("CPU", 1)) // cpus)
        waiting = list(reversed(tasks))
        pending: dict[Any, Task] = {}
        while waiting or pending:
            while waiting and len(pending) < most:
                task = waiting.pop()
                pending[remote.remote(task, _packed(task.path), harness_sha256())] = task
            done, _ = ray.wait(list(pending), num_returns=1, timeout=1.0)
            for reference in done:
                task = pending.pop(reference)
                yield task, _received(ray, reference, task.home)
    finally:
        ray.shutdown()


def _ray() -> ModuleType:
    # Read when Ray is imported and by the processes that it starts.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        import ray
    except ImportError:
        raise UsageError("--ray needs Ray: pip install 'golf-harness[cluster]'") from None
    return ray


def _connect(ray: ModuleType, address: str) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        options["include_dashboard"] = False
    try:
        host, colon, port = address.removeprefix("ray://").rpartition(":")
        if colon and port.isdigit():  # Ray itself would try for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()
        # Ray puts the folder that it is started in on its workers' path: the harness's own, not one with submissions.
        with contextlib.chdir(Path(harness.__file__).resolve().parent.parent):
            ray.init(address=address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise HarnessError(f"no Ray cluster at {address}: {(str(error).splitlines() or ['no answer'])[0]}") from None


def _play_there(task: Task, files: bytes, digest: str) -> tuple[Ended, bytes]:
    """What runs on the other machine: how the task ended there, and its results as a tar file."""
    if harness_sha256() != digest:
        return Ended(4, 0.0, f"{os.uname().nodename} has another harness; install the same on all machines"), b""
    with tempfile.TemporaryDirectory(prefix="golf-batch-") as scratch:
        above = [part for part in task.path.parts[-3:-1] if part not in ("/", "..")]  # names say which track is meant
        here, there = Path(scratch, "in", *above, task.path.name), Path(scratch) / "out"
        _unpack(files, here.parent)
        with Playing(task, here, there) as playing:
            while (ended := playing.poll()) is None:
                time.sleep(_PAUSE)
        said = ended.said.replace(str(there), Task.THERE)
        return dataclasses.replace(ended, said=said), _packed(there, inside=False)


def _received(ray: ModuleType, reference: Any, home: Path) -> Ended:
    home.mkdir(parents=True, exist_ok=True)
    try:
        ended, files = ray.get(reference)
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return Ended(None, 0.0, f"Ray gave up on it ({type(error).__name__}): {lines[-1].strip()[:200]}")
    if files:
        _unpack(files, home)
    assert isinstance(ended, Ended)
    return dataclasses.replace(ended, said=ended.said.replace(Task.THERE, str(home)))


def _packed(path: Path, *, inside: bool = True) -> bytes:
    """A tar file of a submission under its own name, or of a folder's contents."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, found in files_of(path):
            prefix = f"{path.name}/" if inside and path.is_dir() else ""
            tar.add(found, prefix + name, recursive=False)
    return buffer.getvalue()


def _unpack(content: bytes, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            with contextlib.suppress(tarfile.FilterError):  # a link out of the folder
                tar.extract(member, target, filter="data")

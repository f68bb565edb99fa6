"""First code in the box: lays the limits on itself that cannot be taken off again, then runs the module.

Order matters: everything up to `report` happens on one thread and before any untrusted code is imported.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import resource
import socket
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from harness.sandbox.plan import Plan


def confine(level: str, read: list[str], write: list[str], devices: list[str], hide: list[str]) -> dict[str, int]:
    """Capabilities, new privileges, Landlock, seccomp. What the level builds on must succeed; the rest is extra.

    Returns:
        What is in force: `privileges` and `seccomp` (0 or 1), `landlock` (its version, 0 for none).

    Raises:
        OSError: something that the level builds on is not there.
    """
    from harness.sandbox import kernel, landlock, seccomp

    kernel.drop_capabilities()
    kernel.no_new_privileges()
    needed = level == "landlock"
    version = 0
    if needed or landlock.abi():
        version = landlock.restrict(read=[*read, *_proc(level)], write=write, devices=devices, hide=hide)
    gpu = any(device.startswith("/dev/nvidia") for device in devices)
    # Without a network namespace there is no harmless socket: even a unix one reaches the host's daemons.
    own_network = [seccomp.AF_UNIX, seccomp.AF_INET, seccomp.AF_INET6, seccomp.AF_NETLINK]
    if needed or seccomp.supported():
        seccomp.install([] if needed else own_network, shared_files=needed, memfd=gpu)
    return {"privileges": 1, "landlock": version, "seccomp": int(seccomp.supported())}


def _proc(level: str) -> list[str]:
    """What of /proc may be read: all of it where it shows the box only."""
    if level != "landlock":
        return ["/proc"]
    return ["/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm/overcommit_memory"]


def _limit(memory_bytes: int, file_bytes: int) -> None:
    limits = {
        # Twice the limit: the watchdog enforces the limit on memory in use, this stops what it would be too slow for.
        resource.RLIMIT_DATA: 2 * memory_bytes,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 4096,
    }
    for which, value in limits.items():
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))


def main() -> None:
    """`boot.py PLAN`: never returns."""
    code_folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path.insert(0, code_folder)
    from harness.sandbox.plan import Plan

    enter(Plan.loads(sys.argv[1]))


def enter(plan: Plan) -> NoReturn:
    """Become what runs in the box."""
    from harness.sandbox.plan import OUT_OF_MEMORY
    from harness.sandbox.report import reason, report

    try:
        _limit(plan.memory_bytes, plan.file_bytes)
        write = [plan.scratch, "/dev/shm" if plan.level in ("native", "bubblewrap") else plan.shm]
        ready = {} if plan.level == "none" else confine(plan.level, plan.read, write, plan.devices, plan.hide)
    except OSError as error:
        report(plan.status, fault=reason(error))
        os._exit(1)
    report(plan.status, ready=ready)
    os.close(plan.status)
    if not plan.module:
        os._exit(0)  # a trial: somebody asks whether this level works here
    sys.argv = sys.orig_argv = ["box"]
    faulthandler.enable()
    status = 1
    try:
        sys.path[1:1] = plan.path
        from harness.sandbox.wire import Wire

        wire = Wire(socket.socket(fileno=plan.wire))
        result = importlib.import_module(plan.module).main(wire, plan.args)
        status = result if isinstance(result, int) else 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except MemoryError:
        status = OUT_OF_MEMORY
        traceback.print_exc()
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status & 0xFF)


if __name__ == "__main__":
    main()

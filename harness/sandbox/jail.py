"""Namespaces and a file system of the box's own: the native counterpart of bubblewrap's options.

The file system is built from bind mounts on an empty tmpfs, all read-only but the scratch folder, and then
becomes the root; what is not in it does not exist in the box, unix sockets and other users' files included.
Runs in the launcher, before any untrusted code exists.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.sandbox import kernel
from harness.sandbox.plan import Plan

_READ_ONLY = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV


def new_user_and_pid_namespace() -> None:
    """Move this process to a new user namespace with its own ids kept; its next child is process 1 of a new one.

    Root keeps every id, so that files of other owners stay readable; anybody else keeps their own.

    Raises:
        OSError: the machine does not let this user make user namespaces.
    """
    inside, outside = os.pipe()
    answer, tell = os.pipe()
    target = os.getpid()
    helper = os.fork()
    if helper == 0:
        os.close(outside)
        try:
            os.read(inside, 1)
            _map_ids(Path("/proc", str(target)))
            os.write(tell, b"ok")
        except OSError as error:
            os.write(tell, str(error).encode())
        finally:
            os._exit(0)
    try:
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID)
        os.write(outside, b"x")
        said = os.read(answer, 1000)
    except OSError as error:
        raise OSError(error.errno, "user namespaces are not allowed here") from error
    finally:
        for fd in (inside, outside, answer, tell):
            os.close(fd)
        os.waitpid(helper, 0)
    if said != b"ok":
        raise OSError(f"cannot map user ids: {said.decode(errors='replace')}")


def _map_ids(process: Path) -> None:
    """Written from outside the new namespace: only there may more than one id be mapped."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        try:
            for name in ("uid_map", "gid_map"):
                (process / name).write_text("0 0 4294967295\n")
            return
        except OSError:
            pass  # root of a container that has fewer ids than that
    (process / "setgroups").write_text("deny")
    (process / "uid_map").write_text(f"{uid} {uid} 1\n")
    (process / "gid_map").write_text(f"{gid} {gid} 1\n")


def enter(plan: Plan) -> None:
    """New mount, network, IPC, UTS and cgroup namespaces, and the box's own root. Called by process 1.

    Raises:
        OSError: some part of it is not possible here.
    """
    kernel.unshare(
        kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP
    )
    kernel.sethostname(b"box")
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", plan.root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755,size=1m")
    for place in plan.read:
        kernel.restrict_mount(_bind(plan.root, place, place), _READ_ONLY, recursive=True)
    for device in plan.devices:
        _bind(plan.root, device, device)
    for path, target in plan.links:
        link = Path(plan.root + path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    for folder in plan.hide:
        kernel.mount("tmpfs", plan.root + folder, "tmpfs", kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV)
    _bind(plan.root, plan.scratch, plan.scratch)
    _bind(plan.root, plan.shm, "/dev/shm")
    proc = Path(plan.root, "proc")
    proc.mkdir()
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    try:
        try:
            # A process that has been set apart from another (`harness.sandbox.apart`) does not see it here.
            kernel.mount("proc", str(proc), "proc", flags, "hidepid=ptraceable")
        except OSError:  # before Linux 5.8
            kernel.mount("proc", str(proc), "proc", flags)
    except OSError as error:
        raise OSError(error.errno, "a /proc of the box's own cannot be mounted, as in most containers") from error
    # Whoever is root outside still owns /proc/sys in here, core_pattern included: nothing there may be written.
    kernel.restrict_mount(str(proc), _READ_ONLY, recursive=False)
    kernel.restrict_mount(plan.root, _READ_ONLY, recursive=False)
    kernel.change_root(plan.root)


def _bind(root: str, source: str, place: str) -> str:
    target = Path(root + place)
    if os.path.isdir(source):
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    kernel.mount(source, str(target), None, kernel.MS_BIND | kernel.MS_REC)
    return str(target)
